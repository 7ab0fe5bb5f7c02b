// The live sessions as the page knows them: this server's listed once and then updated by events, with those of
// the other machines of its fleet.

import { ApiError, getSession, listSessions, whoAmI } from "./api";
import { EventStream } from "./event-stream";
import { authorized } from "./login";
import type { DoingState, Session, SessionEvent, SessionState } from "./messages";
import type { RemoteSessions } from "./remote-sessions";

/** How often the list is fetched: slowly for what no event tells, fast while there are no events. */
const SLOW_MS = 15_000;
const FAST_MS = 3000;
/** Sessions that change together are fetched together; if there are more than this, as the whole list. */
const SETTLE_MS = 60;
const SINGLE_MAX = 8;

export interface LiveSessionsCallbacks {
  changed(): void;
  /** Shows a problem; empty when it is solved. */
  trouble(text: string): void;
  eventReceived(event: SessionEvent): void;
}

export class LiveSessions {
  /** This server's, newest first. */
  private own: Session[] = [];
  /** Both together, and what they were made of. */
  private merged: { own: Session[]; remote: Session[]; all: Session[] } = { own: [], remote: [], all: [] };
  private readonly stream: EventStream;
  private readonly stale = new Set<string>();
  private timer = 0;
  private fetchTimer = 0;
  private requests = 0;
  private events = 0;
  private checking: Promise<unknown> | null = null;

  constructor(
    private readonly remote: RemoteSessions,
    private readonly isForeign: (session: Session) => boolean,
    private readonly callbacks: LiveSessionsCallbacks,
  ) {
    this.stream = new EventStream({ event: (event) => this.receive(event), reset: () => void this.refresh(), brokeOff: () => this.checkLogin() });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.refresh();
    });
  }

  /** Starts to listen to events. */
  listen(): void {
    this.stream.start();
  }

  /** The live sessions, this server's first, newest first. */
  get sessions(): Session[] {
    const { own, merged } = this;
    const remote = this.remote.sessions;
    if (merged.own !== own || merged.remote !== remote) this.merged = { own, remote, all: remote.length === 0 ? own : [...own, ...remote] };
    return this.merged.all;
  }

  get(id: string | null): Session | undefined {
    return id === null ? undefined : (this.own.find((session) => session.id === id) ?? this.remote.get(id));
  }

  /** Fetches the list now, and again from time to time. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    const request = ++this.requests;
    const { events } = this;
    try {
      const sessions = await authorized(listSessions);
      // A late answer must not undo a newer one.
      if (request !== this.requests) return;
      this.own = sessions.sort(newestFirst);
      this.callbacks.trouble("");
      this.callbacks.changed();
    } catch (error) {
      if (request !== this.requests) return;
      const passing = error instanceof ApiError && error.passing;
      const why = error instanceof Error ? error.message : String(error);
      this.callbacks.trouble(passing ? "The server does not answer. The list may be out of date." : why);
    }
    // Events that came while the request ran may be missing in its answer, so it is repeated soon.
    const again = this.events !== events ? SETTLE_MS * 4 : this.stream.isConnected ? SLOW_MS : FAST_MS;
    this.timer = window.setTimeout(() => {
      if (document.visibilityState === "visible") void this.refresh();
    }, again);
  }

  /** Takes over the state that a connection has received for its session. */
  applyState(id: string, state: SessionState): void {
    const session = this.get(id);
    if (session === undefined) return;
    const { status, active_connections, destroy_at, clients } = state;
    Object.assign(session, { status, active_connections, destroy_at, clients });
    this.callbacks.changed();
  }

  /** Takes over a session as the server has just returned it. */
  put(session: Session): void {
    // Only the list tells the machine, where a server leaves it out of other answers.
    const node = session.node ?? this.get(session.id)?.node;
    const known = node === undefined ? session : { ...session, node };
    if (this.isForeign(known)) this.remote.put(known);
    else {
      this.own = this.own.filter(({ id }) => id !== session.id);
      if (session.ended_at === null) this.own = [known, ...this.own].sort(newestFirst);
    }
    this.callbacks.changed();
  }

  /** Whether another machine has returned a session a moment ago. */
  isNewElsewhere(id: string): boolean {
    return this.remote.isNew(id);
  }

  /** A session has ended. */
  drop(id: string): void {
    this.own = this.own.filter((session) => session.id !== id);
    this.remote.drop(id);
    void this.refresh();
  }

  private receive(event: SessionEvent): void {
    this.events += 1;
    const session = this.get(event.session);
    if (event.kind === "ended") {
      this.own = this.own.filter((one) => one !== session);
    } else if (session !== undefined) {
      apply(event, session);
    }
    const isComplete = session !== undefined && event.kind !== "status" && event.kind !== "changed";
    if (!isComplete && event.kind !== "ended") this.fetchSoon(event.session);
    this.callbacks.eventReceived(event);
    this.callbacks.changed();
  }

  /** Signs in again, if that is why the events have broken off. */
  private async checkLogin(): Promise<void> {
    this.checking ??= authorized(whoAmI).finally(() => (this.checking = null));
    await this.checking;
  }

  /** Fetches a session whose event is incomplete, together with others that change at the same time. */
  private fetchSoon(id: string): void {
    this.stale.add(id);
    if (this.fetchTimer !== 0) return;
    this.fetchTimer = window.setTimeout(() => {
      this.fetchTimer = 0;
      const ids = [...this.stale];
      this.stale.clear();
      if (ids.length > SINGLE_MAX) void this.refresh();
      else for (const one of ids) getSession(one).then((session) => this.put(session), () => {});
    }, SETTLE_MS);
  }
}

const newestFirst = (a: Session, b: Session): number => (a.id < b.id ? 1 : -1);

/** Applies an event to a session. */
function apply(event: SessionEvent, session: Session): void {
  if (!["renamed", "changed", "quiet", "attention"].includes(event.kind)) session.last_activity_at = event.at;
  switch (event.kind) {
    case "status":
      session.status = event.status ?? session.status;
      session.active_connections = event.active_connections ?? session.active_connections;
      return;
    case "renamed":
      session.name = event.name;
      return;
    case "title":
      session.title = event.title ?? null;
      return;
    case "cwd":
      session.cwd_now = event.cwd_now ?? null;
      return;
    case "command": {
      const { command = null, last_exit = null, started_at = null, ended_at = null } = event;
      session.shell = { state: event.state === "running" ? "running" : "prompt", command, last_exit, started_at, ended_at };
      return;
    }
    case "attention": {
      const { message = null, since = event.at, source = null } = event;
      session.attention = { state: event.state as DoingState, message, since, source };
      return;
    }
    case "bell":
      session.bell_at = event.at;
      return;
    case "quiet":
      session.quiet_since = event.quiet_since ?? null;
      session.last_activity_at = event.quiet_since ?? session.last_activity_at;
      return;
  }
}
