// The list of live sessions at the side.

import { ApiError, listSessions } from "./api";
import { button, byId, make, say } from "./dom";
import { authorized } from "./login";
import type { Session, State } from "./messages";
import { addressOf } from "./route";
import { commandOf, isFound, lifeOf, nameOf } from "./words";

/** How often the list is asked for while somebody may look at it. */
const EVERY_MS = 3000;

interface Row {
  item: HTMLLIElement;
  link: HTMLAnchorElement;
  name: HTMLElement;
  since: HTMLElement;
  command: HTMLElement;
  life: HTMLElement;
  kill: HTMLButtonElement;
}

export class SessionList {
  /** The live sessions, newest first. */
  sessions: Session[] = [];
  private readonly list = byId("sessions");
  private readonly search = byId<HTMLInputElement>("search");
  private readonly empty = byId("sessions-empty");
  private readonly hint = byId("start-hint");
  private readonly trouble = byId("sessions-trouble");
  private readonly rows = new Map<string, Row>();
  private current: string | null = null;
  private timer = 0;
  private asked = 0;

  constructor(
    private readonly kill: (session: Session) => void,
    private readonly changed: () => void,
    /** The search is over, with a session to open or without. */
    private readonly left: (session: Session | undefined) => void,
  ) {
    this.search.addEventListener("input", () => this.show());
    this.search.addEventListener("keydown", (event) => this.searching(event));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.refresh();
    });
  }

  /** Asks the server for the list, and again every few seconds. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    const turn = ++this.asked;
    try {
      const sessions = await authorized(listSessions);
      // A slow answer does not undo a newer one.
      if (turn === this.asked) {
        this.sessions = sessions.sort((a, b) => (a.id < b.id ? 1 : -1));
        say(this.trouble, "");
        this.show();
        this.changed();
      }
    } catch (error) {
      const passing = error instanceof ApiError && error.passing;
      const why = error instanceof Error ? error.message : String(error);
      say(this.trouble, passing ? "The server does not answer; the list may be old." : why);
    }
    if (turn !== this.asked) return;
    this.timer = window.setTimeout(() => {
      if (document.visibilityState === "visible") void this.refresh();
    }, EVERY_MS);
  }

  /** Marks the open session. */
  select(id: string | null): void {
    this.current = id;
    this.show();
  }

  /** Takes over what the connection has just heard of a session. */
  heard(id: string, state: State): void {
    const session = this.sessions.find((one) => one.id === id);
    if (session === undefined) return;
    session.status = state.status;
    session.active_connections = state.active_connections;
    session.destroy_at = state.destroy_at;
    this.show();
  }

  /** The session `step` places after the open one. */
  neighbour(step: 1 | -1): Session | undefined {
    const { length } = this.sessions;
    const at = this.sessions.findIndex((session) => session.id === this.current);
    if (at < 0) return this.sessions[step > 0 ? 0 : length - 1];
    return this.sessions[(at + step + length) % length];
  }

  /** Puts the keyboard into the search. */
  find(): void {
    this.search.focus();
    this.search.select();
  }

  /** Those that are searched for. */
  private found(): Session[] {
    return this.sessions.filter((session) => isFound(session, this.search.value.trim()));
  }

  private searching(event: KeyboardEvent): void {
    const [first] = this.found();
    if (event.key === "Escape" || (event.key === "Enter" && first !== undefined)) {
      event.preventDefault();
      this.search.value = "";
      this.show();
      this.left(event.key === "Enter" ? first : undefined);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.list.querySelector("a")?.focus();
    }
  }

  /** Puts the keyboard into the list. */
  focus(): void {
    const link = this.list.querySelector<HTMLElement>("[aria-current]") ?? this.list.querySelector("a");
    (link ?? byId("new")).focus();
  }

  private show(): void {
    const gone = new Set(this.rows.keys());
    const found = this.found();
    found.forEach((session, place) => {
      gone.delete(session.id);
      const row = this.rows.get(session.id) ?? this.add(session);
      this.fill(row, session);
      // Moving an element takes the focus away, so only what is out of place is moved.
      const there = this.list.children[place];
      if (there !== row.item) this.list.insertBefore(row.item, there ?? null);
    });
    for (const id of gone) {
      this.rows.get(id)?.item.remove();
      this.rows.delete(id);
    }
    this.empty.hidden = found.length > 0;
    say(this.empty, this.sessions.length === 0 ? "None yet." : "None of them is like that.");
    this.search.hidden = this.sessions.length === 0;
    this.hint.hidden = this.sessions.length === 0;
  }

  private add(session: Session): Row {
    const { id } = session;
    const name = make("span", "row-name");
    const since = make("time", "row-since");
    const command = make("code", "row-command");
    const life = make("span", "row-life");
    const link = make("a", "row-link", make("span", "row-top", name, since), command, life);
    link.href = addressOf(id);
    const kill = button("✕", "row-kill", () => {
      const now = this.sessions.find((one) => one.id === id);
      if (now !== undefined) this.kill(now);
    });
    const item = make("li", "row", link, kill);
    const row = { item, link, name, since, command, life, kill };
    this.rows.set(id, row);
    return row;
  }

  private fill(row: Row, session: Session): void {
    const started = new Date(session.created_at);
    row.item.dataset["status"] = session.status;
    row.link.title = `${commandOf(session)}\nin ${session.cwd}\nstarted ${started.toLocaleString()}`;
    say(row.name, nameOf(session));
    say(row.since, started.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    say(row.command, session.title ?? commandOf(session));
    say(row.life, lifeOf(session));
    row.kill.title = `End ${nameOf(session)}`;
    row.kill.setAttribute("aria-label", `End ${nameOf(session)}, ${commandOf(session)}`);
    if (session.id === this.current) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
  }
}
