// The fleet that the server is in: its machines, asked for again and again. Of a server in no fleet the page asks once.

import { ApiError, getFleet } from "./api";
import { mayBeAway, pollDelay } from "./fleet-polling";
import { authorized } from "./login";
import { awayText } from "./machine-text";
import type { FleetState, Machine, Session } from "./messages";

/** Wait after a server that did not answer at the start. */
const RETRY_MS = 3000;

export class Fleet {
  /** Null: the server is in no fleet, as far as is known. */
  state: FleetState | null = null;
  /** The ETag of the state, so that an unchanged one need not be sent again. */
  private tag: string | null = null;
  private timer = 0;
  private requests = 0;

  constructor(private readonly changed: () => void) {
    document.addEventListener("visibilitychange", () => {
      if (this.state !== null && document.visibilityState === "visible") void this.refresh();
    });
  }

  /** Asks now, and from time to time if there is a fleet. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    const request = ++this.requests;
    const began = performance.now();
    try {
      const answer = await authorized(() => getFleet(this.tag));
      if (request !== this.requests) return;
      const before = this.state;
      if (answer !== null) {
        this.tag = answer.tag;
        this.state = answer.state.self === null ? null : answer.state;
      }
      // Also where nothing is new, how long ago something was has changed.
      if (before !== null || this.state !== null) this.changed();
      if (this.state === null) return;
    } catch (error) {
      if (request !== this.requests) return;
      // An older server does not know what a fleet is, and not everybody may see it.
      if (!(error instanceof ApiError) || !error.passing) {
        this.state = null;
        this.tag = null;
        return this.changed();
      }
    }
    const wait = this.state === null ? RETRY_MS : pollDelay(document.visibilityState === "visible", performance.now() - began);
    this.timer = window.setTimeout(() => void this.refresh(), wait);
  }

  /** Why the machine of a session is out of reach, after this answer; null: that is not the reason. */
  async awayText(session: Pick<Session, "node"> | null, problem: ApiError): Promise<string | null> {
    const { node } = session ?? {};
    if (problem.code === "node_offline" || problem.code === "node_unreachable") {
      return node === undefined ? problem.message : awayText(node, this.machine(node)?.heard_at ?? null);
    }
    if (problem.status !== 404 || session === null || !this.isForeign(session)) return null;
    // A server that has just started does not know the sessions of machines that it has not heard yet.
    if (!mayBeAway(this.state, node)) await this.refresh();
    return mayBeAway(this.state, node) ? awayText(node ?? "", this.machine(node)?.heard_at ?? null) : null;
  }

  machine(name: string | undefined): Machine | undefined {
    return this.state?.nodes.find((one) => one.name === name);
  }

  /** Whether a session runs on another machine than this server's. */
  isForeign({ node }: Pick<Session, "node">): boolean {
    return this.state !== null && node !== undefined && node !== this.state.self;
  }

  /** Whether the machine of a session is known to be away: nobody can attach then. */
  isAway(session: Pick<Session, "node">): boolean {
    return this.isForeign(session) && this.machine(session.node)?.state === "offline";
  }

  /** Whether one may do no more than look at a session from here. */
  looksOnly(session: Pick<Session, "node">): boolean {
    return this.isForeign(session) && this.machine(session.node)?.rights === "viewer";
  }
}
