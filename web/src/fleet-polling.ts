// Which sessions of other machines are fetched, how often, and what becomes of an answer. It fetches
// nothing itself, so that it can be tested.

import type { FleetState, Session, SessionEvent } from "./messages";

/** How often the page asks while somebody may see it, and in the background. */
const VISIBLE_MS = 3000;
const HIDDEN_MS = 30_000;
/** A large fleet takes long to answer: the page then waits so many times as long before it asks again. */
const REST = 2;
/** More sessions than this are not held all at once: only those of machines that are shown or open. */
const ALL_MAX = 2000;
/** What this page has changed itself is trusted for this time: the directory may be behind. */
const TRUSTED_MS = 5000;

/** What to fetch. */
export type PollPlan =
  /** Nothing: this machine is alone, or shows its own sessions only. */
  | { fetch: "nothing" }
  /** All sessions. */
  | { fetch: "all" }
  /** Those of these machines, and of the others who asks somebody, a little at a time. */
  | { fetch: "machines"; names: string[] };

export function pollPlan({ self, nodes }: FleetState, isWanted: (machine: string) => boolean): PollPlan {
  const others = nodes.filter(({ name }) => name !== self);
  if (others.length === 0) return { fetch: "nothing" };
  const sessions = others.reduce((sum, { live_sessions }) => sum + (live_sessions ?? 0), 0);
  if (sessions <= ALL_MAX) return { fetch: "all" };
  return { fetch: "machines", names: others.map(({ name }) => name).filter(isWanted) };
}

/** Milliseconds until the next fetch, after one that took `took` ms. */
export function pollDelay(visible: boolean, took: number): number {
  return visible ? Math.max(VISIBLE_MS, REST * took) : HIDDEN_MS;
}

/** What this page did to a session: it has the newer state itself, or knows that it has ended. */
export type OwnChange = { at: number; session: Session | null };

/** Whether a change counts more than what is fetched. */
export const isTrusted = ({ at }: OwnChange, now: number): boolean => now - at <= TRUSTED_MS;

/** The fetched sessions, with what this page knows better. Drops the changes that are old. */
export function withOwnChanges(fetched: readonly Session[], changes: Map<string, OwnChange>, now: number): Session[] {
  for (const [id, change] of changes) if (!isTrusted(change, now)) changes.delete(id);
  if (changes.size === 0) return [...fetched];
  const rest = new Map(changes);
  const merged: Session[] = [];
  for (const session of fetched) {
    const change = rest.get(session.id);
    rest.delete(session.id);
    if (change === undefined) merged.push(session);
    else if (change.session !== null) merged.push(change.session.updated_at > session.updated_at ? change.session : session);
  }
  for (const { session } of rest.values()) if (session !== null) merged.push(session);
  return merged;
}

/** The news in a fetched list, as the events that the other machine has sent its own page. */
export function newsBetween(before: ReadonlyMap<string, Session>, after: readonly Session[]): SessionEvent[] {
  return after.flatMap((session): SessionEvent[] => {
    const old = before.get(session.id);
    if (old === undefined || old === session) return [];
    const { id, name, attention, bell_at, notification } = session;
    const news: SessionEvent[] = [];
    if (bell_at !== null && bell_at !== old.bell_at) news.push({ kind: "bell", session: id, name, at: bell_at });
    if (notification !== null && notification.at !== old.notification?.at) {
      const { title, body, at } = notification;
      news.push({ kind: "notification", session: id, name, at, title, body });
    }
    if (attention !== undefined && (attention.state !== old.attention?.state || attention.since !== old.attention.since)) {
      const { state, message, since, source } = attention;
      news.push({ kind: "attention", session: id, name, at: since, state, message, since, source });
    }
    return news;
  });
}

/** Whether a session that the server does not know may only be out of sight: its machine is another one,
    and the server does not hear it at present. */
export function mayBeAway(fleet: FleetState | null, node: string | undefined): boolean {
  if (fleet === null || node === undefined || node === fleet.self) return false;
  return !fleet.connected || fleet.nodes.find(({ name }) => name === node)?.state !== "online";
}
