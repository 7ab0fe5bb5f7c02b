// When the user leaves a session: until when it stays, and a button to keep it. It lies over the
// terminal, which keeps its size.

import { byId, setText } from "./dom";
import { ifQuiet, isPinned, nameOf } from "./format";
import type { Session } from "./messages";
import { untilText } from "./time";

/** The server has told by then that nobody is attached any more. If somebody still is, the session stays. */
const TOLD_WITHIN_MS = 10_000;
/** The notice goes by itself after this time. */
const SHOWN_MS = 15_000;

export interface DepartureCallbacks {
  session(id: string): Session | undefined;
  keep(session: Session): void;
}

export class DepartureNotice {
  private readonly element = byId("departure");
  private readonly text = byId("departure-text");
  private left: { id: string; at: number } | null = null;
  private timer = 0;

  constructor(private readonly callbacks: DepartureCallbacks) {
    byId("departure-keep").addEventListener("click", () => {
      const session = this.left === null ? undefined : callbacks.session(this.left.id);
      if (session !== undefined && !isPinned(session)) callbacks.keep(session);
      this.clear();
    });
    byId("departure-close").addEventListener("click", () => this.clear());
  }

  /** The user has left a live session. */
  leave(id: string): void {
    this.clear();
    this.left = { id, at: Date.now() };
  }

  /** The user has opened a session: the same one again, perhaps. */
  stay(id: string): void {
    if (this.left?.id === id) this.clear();
  }

  /** Sessions have changed: says it once the session is known to wait for its end. */
  update(): void {
    if (this.left === null) return;
    const session = this.callbacks.session(this.left.id);
    const waits = session !== undefined && session.destroy_at !== null && session.active_connections === 0;
    const late = Date.now() - this.left.at > TOLD_WITHIN_MS;
    if (session === undefined || (!waits && (late || !this.element.hidden))) return this.clear();
    if (!waits || session.destroy_at === null) return;
    const unless = ifQuiet(session) === "" ? "somebody attaches" : "somebody attaches or its program does something";
    setText(this.text, `${nameOf(session)} ends at ${untilText(session.destroy_at)} unless ${unless}.`);
    if (!this.element.hidden) return;
    this.element.hidden = false;
    this.hideLater();
  }

  clear(): void {
    this.left = null;
    clearTimeout(this.timer);
    this.element.hidden = true;
  }

  private hideLater(): void {
    this.timer = window.setTimeout(() => {
      // Not under the user's hands.
      if (this.element.matches(":hover, :focus-within")) this.hideLater();
      else this.clear();
    }, SHOWN_MS);
  }
}
