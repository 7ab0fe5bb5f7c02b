// Watches the events for sessions that need attention, and tells the tab and the notifications.

import { Attention, type Cause } from "./attention";
import type { BrowserNotifications } from "./browser-notifications";
import { endText } from "./format";
import type { SessionEvent } from "./messages";
import type { TabBadge } from "./tab-badge";

const CAUSES = ["bell", "notification", "quiet", "ended", "blocked", "done"];

export interface AttentionCallbacks {
  /** The ids of the open sessions. */
  open(): string[];
  /** The name of a session; null if the session is unknown. */
  name(session: string): string | null;
  /** Says something on the page. */
  say(text: string): void;
}

export class AttentionNotifier {
  readonly attention = new Attention(Date.now());
  /** Sessions of which the user wants to hear when their command has ended. */
  private readonly awaited = new Set<string>();

  constructor(
    private readonly badge: TabBadge,
    private readonly notifications: BrowserNotifications,
    private readonly callbacks: AttentionCallbacks,
  ) {}

  /** The user wants to hear when the command that runs in this session has ended. */
  tellEnd(session: string): void {
    this.awaited.add(session);
  }

  /** Takes an event and decides whether the user hears of it. */
  receive(event: SessionEvent): void {
    if (event.kind === "command") return this.commandChanged(event);
    if (event.kind === "attention") return this.doingChanged(event);
    const { kind, session: id } = event;
    if (!CAUSES.includes(kind)) return;
    const isOpen = this.callbacks.open().includes(id);
    let text: string;
    if (kind === "ended") {
      // An ended session has no row in the list that could show the alert.
      this.attention.remove(id);
      if (event.end_reason === "killed") return this.badge.setCount(this.attention.count);
      const { exit_code, exit_signal, end_reason } = event;
      text = endText({ code: exit_code ?? null, signal: exit_signal ?? null, reason: end_reason ?? null });
    } else {
      if (isOpen && document.visibilityState === "visible") this.attention.markSeen(id, Date.now());
      else if (!this.record(event, kind as Cause)) return;
      text = this.textOf(id);
    }
    this.badge.setCount(this.attention.count);
    if (text === "" || (isOpen && document.visibilityState === "visible" && document.hasFocus())) return;
    this.notifications.tell(id, event.name ?? this.callbacks.name(id) ?? "A session", text);
  }

  /** A program asks something, has done something, or goes on. */
  private doingChanged(event: SessionEvent): void {
    const { state, session, message } = event;
    if (state === "blocked" || state === "done") {
      this.receive({ ...event, kind: state, title: null, body: message ?? "" });
    } else {
      this.attention.goesOn(session);
      this.badge.setCount(this.attention.count);
    }
  }

  private commandChanged(event: SessionEvent): void {
    const { session, state, command, last_exit } = event;
    if (state !== "prompt" || !this.awaited.delete(session)) return;
    const code = last_exit == null ? "" : ` with ${last_exit}`;
    const body = `${command ?? "The command"} has ended${code}`;
    const isOpen = this.callbacks.open().includes(session) && document.visibilityState === "visible";
    // Also where it is open: the user has asked for it.
    if (isOpen) this.callbacks.say(body);
    else this.receive({ ...event, kind: "notification", title: null, body });
  }

  /** Sessions are gone without an event that says how. */
  gone(ids: string[]): void {
    for (const id of ids) this.attention.remove(id);
    this.badge.setCount(this.attention.count);
  }

  /** The user sees the open sessions now, or did until now. */
  markOpenSeen(): void {
    if (document.visibilityState !== "visible") return;
    for (const id of this.callbacks.open()) this.attention.markSeen(id, Date.now());
    this.badge.setCount(this.attention.count);
  }

  private record(event: SessionEvent, cause: Cause): boolean {
    const at = Date.parse((cause === "quiet" ? event.quiet_since : null) ?? event.at);
    const text = [event.title, event.body].filter(Boolean).join(": ");
    return this.attention.add({ session: event.session, cause, at, text });
  }

  /** The text of the notification; empty if none is due. */
  private textOf(id: string): string {
    const alert = this.attention.get(id);
    if (alert === undefined) return "";
    const { text } = alert;
    if (alert.cause === "blocked") return text === "" ? "It waits for you." : `It asks: ${text}`;
    if (alert.cause === "done") return text === "" ? "It is done." : text;
    return { bell: "The bell rang.", quiet: "The session fell quiet.", notification: text || "The session sent a notification.", ended: "" }[alert.cause];
  }
}
