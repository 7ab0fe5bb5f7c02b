// The browser's notifications, off until the user turns them on. Where the browser can be reached while no
// page is open, the server tells it (`push.ts`); other news are told by a page that is open.

import { byId, setDescription } from "./dom";
import { startPush, stopPush } from "./push";
import { loadSetting, saveSetting } from "./storage";
import { visibleText } from "./visible";

const WANTED = "stayd-notify";

export class BrowserNotifications {
  private readonly button = byId<HTMLButtonElement>("notify");
  private mayPush = false;

  constructor(
    private readonly open: (session: string) => void,
    private readonly trouble: (text: string) => void,
  ) {
    // Insecure contexts have no notifications, and some phones have them only for installed pages.
    this.button.hidden = !("Notification" in globalThis) || !isSecureContext;
    this.button.addEventListener("click", () => void this.toggle());
    this.show();
  }

  get isOn(): boolean {
    return !this.button.hidden && Notification.permission === "granted" && loadSetting(WANTED) === "yes";
  }

  /** Shows a notification about a session, if notifications are on. */
  tell(session: string, name: string, text: string): void {
    if (!this.isOn) return;
    // The tag makes it one per session: every open tab shows the same notification.
    const note = new Notification(visibleText(name), { body: visibleText(text), tag: `stayd-${session}`, icon: "favicon.svg" });
    note.onclick = () => {
      window.focus();
      this.open(session);
      note.close();
    };
  }

  /** Somebody has signed in who may have this browser told; a share link may not. */
  signedIn(mayPush: boolean): void {
    this.mayPush = mayPush;
    // What cannot be renewed now is by the next visit.
    if (mayPush && this.isOn) startPush().catch(() => {});
  }

  async toggle(): Promise<void> {
    if (this.isOn) {
      saveSetting(WANTED, "no");
      stopPush().catch((error: unknown) => this.trouble(`The server may still send notifications: ${reason(error)}`));
    } else if ((await Notification.requestPermission()) === "granted") {
      saveSetting(WANTED, "yes");
      if (this.mayPush) startPush().catch((error: unknown) => this.trouble(`Notifications come only while this page is open: ${reason(error)}`));
    } else this.trouble("The browser blocks notifications from this page. Its settings for this site can allow them.");
    this.show();
  }

  private show(): void {
    const on = this.isOn;
    this.button.setAttribute("aria-pressed", String(on));
    setDescription(this.button, on ? "Notifications are on: turn them off" : "Notify me when a session rings the bell, sends a notification, falls quiet or ends");
  }
}

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
