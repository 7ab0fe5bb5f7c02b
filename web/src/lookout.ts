// Looks out for sessions that want to be looked at, and tells the tab and the notifications.

import { Attention, type Cause } from "./attention";
import type { Badge } from "./badge";
import type { Happening } from "./messages";
import type { Notifier } from "./notifier";
import { endOf } from "./words";

const CAUSES = ["bell", "notification", "quiet", "ended"];

export interface Owner {
  /** The session that is open. */
  open(): string | null;
  /** What a session is called; null: nothing is known of it. */
  name(session: string): string | null;
}

export class Lookout {
  readonly attention = new Attention(Date.now());

  constructor(
    private readonly badge: Badge,
    private readonly notifier: Notifier,
    private readonly owner: Owner,
  ) {}

  /** Something happened to a session that somebody may want to know. */
  hear(event: Happening): void {
    const { kind, session: id } = event;
    if (!CAUSES.includes(kind)) return;
    const isOpen = id === this.owner.open();
    let text: string;
    if (kind === "ended") {
      // There is no row any more in which it could wait to be looked at.
      this.attention.drop(id);
      if (event.end_reason === "killed") return this.badge.wait(this.attention.count);
      const { exit_code, exit_signal, end_reason } = event;
      text = endOf({ code: exit_code ?? null, signal: exit_signal ?? null, reason: end_reason ?? null });
    } else {
      if (isOpen && document.visibilityState === "visible") this.attention.look(id, Date.now());
      else if (!this.notice(event, kind as Cause)) return;
      text = this.said(id);
    }
    this.badge.wait(this.attention.count);
    if (text === "" || (isOpen && document.visibilityState === "visible" && document.hasFocus())) return;
    this.notifier.tell(id, event.name ?? this.owner.name(id) ?? "A session", text);
  }

  /** Somebody looks at the open session, or did until now. */
  look(): void {
    const id = this.owner.open();
    if (id === null || document.visibilityState !== "visible") return;
    this.attention.look(id, Date.now());
    this.badge.wait(this.attention.count);
  }

  private notice(event: Happening, cause: Cause): boolean {
    const at = Date.parse((cause === "quiet" ? event.quiet_since : null) ?? event.at);
    const text = [event.title, event.body].filter(Boolean).join(": ");
    return this.attention.notice({ session: event.session, cause, at, text });
  }

  /** What a notification says; empty: nothing is worth one. */
  private said(id: string): string {
    const sign = this.attention.of(id);
    if (sign === undefined) return "";
    return { bell: "It rang.", quiet: "It fell quiet.", notification: sign.text || "It notified.", ended: "" }[sign.cause];
  }
}
