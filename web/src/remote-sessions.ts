// The live sessions of the other machines of the fleet. No events tell of them: they are fetched again and again.

import { type FleetPage, listFleetSessions } from "./api";
import type { Fleet } from "./fleet";
import { isTrusted, newsBetween, type OwnChange, pollDelay, type PollPlan, pollPlan, withOwnChanges } from "./fleet-polling";
import { authorized } from "./login";
import type { Session, SessionEvent } from "./messages";
import { isBlocked } from "./waiting";

/** In a large fleet, so many pages of all sessions are looked through at a time for those that ask somebody. */
const SWEPT_PAGES = 2;

export interface RemoteSessionsCallbacks {
  changed(): void;
  /** What has happened to a session since it was fetched before. */
  news(event: SessionEvent): void;
  /** Sessions are gone: ended, or no longer looked at. */
  gone(ids: string[]): void;
  /** Whether sessions of a machine are shown, or open. */
  isWanted(machine: string): boolean;
}

export class RemoteSessions {
  /** Those of each machine are newest first. */
  sessions: Session[] = [];
  private byId = new Map<string, Session>();
  private readonly changes = new Map<string, OwnChange>();
  /** What is known of each address, so that an unchanged page need not be sent again. */
  private pages = new Map<string, FleetPage>();
  /** The sessions of folded machines that ask somebody, the page that is looked through next, and what this
      round has found so far. */
  private asking: Session[] = [];
  private sweepAt: string | null = null;
  private found: Session[] = [];
  private timer = 0;
  private rounds = 0;
  /** Neither fetches nor waits for the next time. */
  private isIdle = true;
  private loaded: () => void = () => {};
  /** The sessions have been fetched once. */
  readonly ready = new Promise<void>((resolve) => (this.loaded = resolve));

  constructor(
    private readonly fleet: Fleet,
    private readonly callbacks: RemoteSessionsCallbacks,
  ) {
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.refresh();
    });
  }

  get(id: string): Session | undefined {
    return this.byId.get(id);
  }

  /** Whether its machine has returned a session a moment ago: the directory may not have it yet. */
  isNew(id: string): boolean {
    const change = this.changes.get(id);
    return change !== undefined && change.session !== null && isTrusted(change, performance.now());
  }

  /** Takes over a session as its machine has just returned it; one that has ended is gone. */
  put(session: Session): void {
    const isLive = session.ended_at === null;
    this.changes.set(session.id, { at: performance.now(), session: isLive ? session : null });
    const rest = this.sessions.filter(({ id }) => id !== session.id);
    this.take(isLive ? [session, ...rest] : rest);
  }

  /** The session has ended. */
  drop(id: string): void {
    if (!this.byId.has(id)) return;
    this.changes.set(id, { at: performance.now(), session: null });
    this.take(this.sessions.filter((session) => session.id !== id));
  }

  /** The fleet has changed: fetches, if that has not begun yet. */
  follow(): void {
    if (this.isIdle) void this.refresh();
  }

  /** Fetches now, and again from time to time. Without a fleet there is nothing to fetch. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    this.isIdle = false;
    const round = ++this.rounds;
    const began = performance.now();
    const { state } = this.fleet;
    if (state !== null) {
      const plan = pollPlan(state, (machine) => this.callbacks.isWanted(machine));
      try {
        const fetched = await this.fetch(plan, round);
        if (round !== this.rounds) return;
        this.receive(fetched);
      } catch {
        // The page says elsewhere that the server does not answer. What was fetched before stays.
        if (round !== this.rounds) return;
      }
    } else if (this.sessions.length > 0) this.receive([]);
    this.loaded();
    const wait = pollDelay(document.visibilityState === "visible", performance.now() - began);
    this.isIdle = state === null;
    if (state !== null) this.timer = window.setTimeout(() => void this.refresh(), wait);
  }

  private async fetch(plan: PollPlan, round: number): Promise<Session[]> {
    if (plan.fetch !== "machines") {
      this.asking = [];
      return plan.fetch === "all" ? this.fetchPages(["all"], round) : [];
    }
    const fetched = await this.fetchPages(plan.names, round);
    await this.sweep(round);
    const shown = new Set(plan.names);
    return [...fetched, ...this.asking.filter(({ node }) => !shown.has(node ?? ""))];
  }

  /** Fetches all pages of these machines. Each is a request of its own, so that the page stays usable. */
  private async fetchPages(machines: string[], round: number): Promise<Session[]> {
    const pages = new Map<string, FleetPage>();
    const fetched: Session[] = [];
    for (const machine of machines) {
      let cursor: string | null = null;
      do {
        const key: string = `${machine} ${cursor ?? ""}`;
        const before = this.pages.get(key);
        const at: string | null = cursor;
        const page: FleetPage | undefined = (await authorized(() => listFleetSessions(machine, at, before?.tag ?? null))) ?? before;
        if (page === undefined || round !== this.rounds) return fetched;
        pages.set(key, page);
        for (const session of page.sessions) if (this.fleet.isForeign(session)) fetched.push(session);
        cursor = page.next;
      } while (cursor !== null);
    }
    this.pages = pages;
    return fetched;
  }

  /** Looks through some pages of all sessions, and keeps who asks somebody. */
  private async sweep(round: number): Promise<void> {
    for (let count = 0; count < SWEPT_PAGES; count++) {
      const cursor = this.sweepAt;
      const page = await authorized(() => listFleetSessions("all", cursor, null));
      if (page === null || round !== this.rounds) return;
      const seen = new Set(page.sessions.map(({ id }) => id));
      const asking = page.sessions.filter((session) => this.fleet.isForeign(session) && isBlocked(session));
      this.found.push(...asking);
      this.asking = [...this.asking.filter(({ id }) => !seen.has(id)), ...asking];
      this.sweepAt = page.next;
      if (page.next !== null) continue;
      this.asking = this.found;
      this.found = [];
      return;
    }
  }

  private receive(fetched: Session[]): void {
    const sessions = withOwnChanges(fetched, this.changes, performance.now());
    const before = this.byId;
    if (sessions.length === this.sessions.length && sessions.every((session) => before.get(session.id) === session)) return;
    const news = newsBetween(before, sessions);
    this.take(sessions);
    const gone = [...before.keys()].filter((id) => !this.byId.has(id));
    if (gone.length > 0) this.callbacks.gone(gone);
    news.forEach((event) => this.callbacks.news(event));
    this.callbacks.changed();
  }

  private take(sessions: Session[]): void {
    this.sessions = sessions;
    this.byId = new Map(sessions.map((session) => [session.id, session]));
  }
}
