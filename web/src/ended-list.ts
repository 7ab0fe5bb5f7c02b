// The list of ended sessions, page by page. It is fetched only while it is unfolded.

import { listEndedSessions } from "./api";
import { byId, make, setText, setTooltip } from "./dom";
import { commandOf, endSummary, endText, isCleanEnd, nameOf, sessionEnd } from "./format";
import { authorized } from "./login";
import type { Session } from "./messages";
import { addressOf } from "./route";
import { ago, countdown } from "./time";

/** Several sessions often end together: one request after this time covers them all. */
const SETTLE_MS = 300;

export class EndedList {
  private readonly details = byId<HTMLDetailsElement>("ended");
  private readonly list = byId("ended-list");
  private readonly note = byId("ended-note");
  private readonly more = byId<HTMLButtonElement>("ended-more");
  private sessions: Session[] = [];
  private next: string | null = null;
  private current: string | null = null;
  private timer = 0;

  constructor() {
    this.details.addEventListener("toggle", () => void this.load(false));
    this.more.addEventListener("click", () => void this.load(true));
    setInterval(() => this.tick(), 1000);
  }

  /** Fetches the list again: a session has ended, or its record was deleted. */
  changed(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.load(false), SETTLE_MS);
  }

  /** Drops sessions that are live again. */
  removeLive(isLive: (id: string) => boolean): void {
    const over = this.sessions.filter(({ id }) => !isLive(id));
    if (over.length === this.sessions.length) return;
    this.sessions = over;
    this.show();
    // Ask the server as well: the session may have ended again, or an old answer called it live.
    this.changed();
  }

  get(id: string | null): Session | undefined {
    return this.sessions.find((session) => session.id === id);
  }

  select(id: string | null): void {
    this.current = id;
    for (const link of this.list.querySelectorAll("a")) this.mark(link);
  }

  private async load(more: boolean): Promise<void> {
    if (!this.details.open) return;
    this.more.disabled = true;
    try {
      const page = await authorized(() => listEndedSessions(more ? this.next : null));
      this.sessions = more ? [...this.sessions, ...page.sessions] : page.sessions;
      this.next = page.next;
      setText(this.note, this.sessions.length === 0 ? "No ended sessions." : "");
    } catch (error) {
      setText(this.note, error instanceof Error ? error.message : String(error));
    }
    this.more.disabled = false;
    this.show();
  }

  private show(): void {
    this.note.hidden = this.note.textContent === "";
    this.more.hidden = this.next === null;
    this.list.replaceChildren(...this.sessions.map((session) => this.row(session)));
    this.tick();
  }

  /** Updates the countdowns to restarts, and how long ago the other sessions ended. */
  private tick(): void {
    const now = Date.now();
    for (const element of this.list.querySelectorAll<HTMLElement>("[data-at]")) {
      setText(element, `restarts in ${countdown(Date.parse(element.dataset["at"] ?? "") - now)}`);
    }
    for (const time of this.list.querySelectorAll("time")) setText(time, ago(now - Date.parse(time.dateTime)));
  }

  private row(session: Session): HTMLLIElement {
    const ended = session.ended_at ?? session.updated_at;
    const end = sessionEnd(session);
    const when = make("time", "row-when");
    when.dateTime = ended;
    const top = make("span", "row-top", make("span", "row-name", nameOf(session)), when);
    const how = make("span", isCleanEnd(end) ? "row-status" : "row-status bad", endSummary(end));
    const again = make("span", "row-alert");
    if (session.restart_at) again.dataset["at"] = session.restart_at;
    const bottom = make("span", "row-bottom", how, again);
    const link = make("a", "row-link", top, make("span", "row-command", commandOf(session)), bottom);
    link.href = addressOf(session.id);
    setTooltip(link, endText(end, session), new Date(ended).toLocaleString());
    this.mark(link);
    const item = make("li", "row", link);
    item.dataset["status"] = session.status;
    return item;
  }

  private mark(link: HTMLAnchorElement): void {
    if (this.current !== null && link.hash === addressOf(this.current)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
