// Rows of sessions, one under the other: all live ones, or those of a machine. The user can put them into another order.

import type { Attention } from "./attention";
import { makeDraggable, takeDropped } from "./list-drag";
import type { Session } from "./messages";
import { SessionRow, type RowPlace } from "./session-row";

export interface SessionRowsCallbacks {
  /** This tab's client id. */
  me(): string;
  /** The id of the open session. */
  current(): string | null;
  place(session: Session): RowPlace;
  pin(session: Session): void;
  kill(session: Session): void;
  /** Types a line into a session that asks; false: that failed. */
  answer(session: Session, line: string): Promise<boolean>;
  /** The user puts one of these sessions before another, or behind all (null). */
  moved(sessions: Session[], id: string, before: string | null): void;
}

export class SessionRows {
  private readonly rows = new Map<string, SessionRow>();
  private sessions: Session[] = [];

  constructor(
    readonly element: HTMLElement,
    private readonly attention: Attention,
    private readonly callbacks: SessionRowsCallbacks,
  ) {
    takeDropped(
      element,
      (event) => this.showDrop(event),
      (id, event) => this.move(id, this.rowAfter(event)),
    );
    element.addEventListener("keydown", (event) => this.moveKey(event));
  }

  show(sessions: Session[]): void {
    this.sessions = sessions;
    const { me, current } = this.callbacks;
    const gone = new Set(this.rows.keys());
    sessions.forEach((session, place) => {
      const { id } = session;
      gone.delete(id);
      const row = this.rows.get(id) ?? this.add(id);
      row.fill(session, me(), id === current(), this.attention.get(id), this.callbacks.place(session));
      // Moving an element takes the focus from it, so only those out of place are moved.
      const there = this.element.children[place];
      if (there !== row.item) this.element.insertBefore(row.item, there ?? null);
    });
    for (const id of gone) {
      this.rows.get(id)?.item.remove();
      this.rows.delete(id);
    }
  }

  /** Updates what depends on the time. */
  tick(): void {
    for (const session of this.sessions) this.rows.get(session.id)?.tick(session, this.callbacks.me());
  }

  private move(id: string, before: string | null): void {
    if (this.rows.has(id)) this.callbacks.moved(this.sessions, id, before);
  }

  /** The session before which one is dropped here; null: behind all. */
  private rowAfter(event: DragEvent): string | null {
    for (const [id, { item }] of this.inOrder()) {
      const { top, height } = item.getBoundingClientRect();
      if (event.clientY < top + height / 2) return id;
    }
    return null;
  }

  /** The rows as they are on the page. */
  private inOrder(): [string, SessionRow][] {
    const place = new Map([...this.element.children].map((item, at) => [item, at]));
    return [...this.rows].sort(([, a], [, b]) => (place.get(a.item) ?? 0) - (place.get(b.item) ?? 0));
  }

  /** Shows a line where a session would be dropped. */
  private showDrop(event: DragEvent | null): void {
    const rows = this.inOrder();
    const before = event === null ? null : this.rowAfter(event);
    rows.forEach(([id, { item }], at) => {
      item.toggleAttribute("data-drop-before", event !== null && id === before);
      item.toggleAttribute("data-drop-after", event !== null && before === null && at === rows.length - 1);
    });
  }

  /** Alt with an arrow moves the session whose row has the focus. */
  private moveKey(event: KeyboardEvent): void {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (step === 0 || !event.altKey || event.shiftKey || event.ctrlKey || event.metaKey) return;
    const rows = this.inOrder();
    const at = rows.findIndex(([, { link }]) => link === event.target);
    const [id] = rows[at] ?? [];
    if (id === undefined || rows[at + step] === undefined) return;
    event.preventDefault();
    this.move(id, rows[step < 0 ? at - 1 : at + 2]?.[0] ?? null);
    // The row has been moved in the page, which takes the focus from it.
    this.rows.get(id)?.link.focus();
  }

  private add(id: string): SessionRow {
    const withSession = (act: (session: Session) => void) => (one: string) => {
      const session = this.sessions.find((known) => known.id === one);
      if (session !== undefined) act(session);
    };
    const row = new SessionRow(id, {
      pin: withSession((session) => this.callbacks.pin(session)),
      kill: withSession((session) => this.callbacks.kill(session)),
      answer: async (one, line) => {
        const session = this.sessions.find((known) => known.id === one);
        return session !== undefined && this.callbacks.answer(session, line);
      },
    });
    makeDraggable(row.link, id);
    this.rows.set(id, row);
    return row;
  }
}
