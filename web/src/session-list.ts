// The list of live sessions in the side bar.

import type { Attention } from "./attention";
import { byId, setText } from "./dom";
import { matchesSearch } from "./format";
import { makeDraggable, takeDropped } from "./list-drag";
import type { LiveSessions } from "./live-sessions";
import type { Session } from "./messages";
import { arranged, moved, parseOrder } from "./session-order";
import { SessionRow } from "./session-row";
import { loadSetting, saveSetting } from "./storage";
import { blockedFirst } from "./waiting";

/** The user's order of the sessions. */
const ORDER = "stayd-order";

export interface SessionListCallbacks {
  pin(session: Session): void;
  kill(session: Session): void;
  /** Types a line into a session that asks; false: that failed. */
  answer(session: Session, line: string): Promise<boolean>;
  /** The search was closed, with a session to open or without. */
  searchClosed(session: Session | undefined): void;
}

export class SessionList {
  /** This tab's client id. */
  me = "";
  private readonly list = byId("sessions");
  private readonly search = byId<HTMLInputElement>("search");
  private readonly empty = byId("sessions-empty");
  private readonly hint = byId("start-hint");
  private readonly count = byId("live-count");
  private readonly rows = new Map<string, SessionRow>();
  private current: string | null = null;
  private order = parseOrder(loadSetting(ORDER));

  constructor(
    private readonly liveSessions: LiveSessions,
    private readonly attention: Attention,
    private readonly callbacks: SessionListCallbacks,
  ) {
    this.search.addEventListener("input", () => this.show());
    this.search.addEventListener("keydown", (event) => this.searchKey(event));
    takeDropped(
      this.list,
      (event) => this.showDrop(event),
      (id, event) => this.move(id, this.rowAfter(event)),
    );
    this.list.addEventListener("keydown", (event) => this.moveKey(event));
    setInterval(() => this.tick(), 1000);
  }

  /** Marks the open session. */
  select(id: string | null): void {
    this.current = id;
    this.show();
  }

  /** The session `step` places after the open one. */
  neighbour(step: 1 | -1): Session | undefined {
    const sessions = this.arranged();
    const at = sessions.findIndex((session) => session.id === this.current);
    if (at < 0) return sessions[step > 0 ? 0 : sessions.length - 1];
    return sessions[(at + step + sessions.length) % sessions.length];
  }

  /** Moves the keyboard focus to the list. */
  focus(): void {
    const link = this.list.querySelector<HTMLElement>("[aria-current]") ?? this.list.querySelector("a");
    (link ?? byId("new")).focus();
  }

  show(): void {
    const { sessions } = this.liveSessions;
    const gone = new Set(this.rows.keys());
    const found = this.matching();
    found.forEach((session, place) => {
      const { id } = session;
      gone.delete(id);
      const row = this.rows.get(id) ?? this.add(id);
      row.fill(session, this.me, id === this.current, this.attention.get(id));
      // Moving an element takes the focus from it, so only those out of place are moved.
      const there = this.list.children[place];
      if (there !== row.item) this.list.insertBefore(row.item, there ?? null);
    });
    for (const id of gone) {
      this.rows.get(id)?.item.remove();
      this.rows.delete(id);
    }
    this.empty.hidden = found.length > 0;
    setText(this.empty, sessions.length === 0 ? "No sessions yet." : "No session matches.");
    setText(this.count, sessions.length === 0 ? "" : String(sessions.length));
    this.search.hidden = sessions.length === 0;
    this.hint.hidden = sessions.length === 0;
  }

  /** Puts a session before another one, or at the end, and remembers the order. */
  private move(id: string, before: string | null): void {
    const ids = arranged(this.liveSessions.sessions, this.order).map((session) => session.id);
    if (!ids.includes(id)) return;
    this.order = moved(ids, id, before);
    saveSetting(ORDER, JSON.stringify(this.order));
    this.show();
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
    const place = new Map([...this.list.children].map((item, at) => [item, at]));
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

  private tick(): void {
    if (document.visibilityState !== "visible") return;
    for (const session of this.liveSessions.sessions) this.rows.get(session.id)?.tick(session, this.me);
  }

  /** Those that ask something first, the others in the user's order. */
  private arranged(): Session[] {
    return blockedFirst(arranged(this.liveSessions.sessions, this.order));
  }

  /** The sessions that match the search. */
  private matching(): Session[] {
    const wanted = this.search.value.trim();
    return this.arranged().filter((session) => matchesSearch(session, wanted));
  }

  private searchKey(event: KeyboardEvent): void {
    const [first] = this.matching();
    if (event.key === "Escape" || (event.key === "Enter" && first !== undefined)) {
      event.preventDefault();
      this.search.value = "";
      this.show();
      this.callbacks.searchClosed(event.key === "Enter" ? first : undefined);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.list.querySelector("a")?.focus();
    }
  }

  private add(id: string): SessionRow {
    const withSession = (act: (session: Session) => void) => (one: string) => {
      const session = this.liveSessions.get(one);
      if (session !== undefined) act(session);
    };
    const row = new SessionRow(id, {
      pin: withSession((s) => this.callbacks.pin(s)),
      kill: withSession((s) => this.callbacks.kill(s)),
      answer: async (one, line) => {
        const session = this.liveSessions.get(one);
        return session !== undefined && this.callbacks.answer(session, line);
      },
    });
    makeDraggable(row.link, id);
    this.rows.set(id, row);
    return row;
  }
}
