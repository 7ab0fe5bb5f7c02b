// Who waits for a person: first those that ask, the longest waiting before the others.

import type { Doing, Session } from "./messages";
import { duration } from "./time";

type Waits = Pick<Session, "id" | "attention">;

/** It can go on only after somebody has answered. */
export const isBlocked = ({ attention }: Waits): boolean => attention?.state === "blocked";

/** The sessions with those that are blocked at the top, the longest waiting first. */
export function blockedFirst<T extends Waits>(sessions: readonly T[]): T[] {
  const blocked = sessions.filter(isBlocked).sort(longestFirst);
  return [...blocked, ...sessions.filter((session) => !isBlocked(session))];
}

/** The session that waits for the longest time, other than the open one where there are several: first of
    those that are blocked, then of those that have done something. */
export function longestWaiting<T extends Waits>(sessions: readonly T[], open: string | null): T | undefined {
  const done = sessions.filter(({ attention }) => attention?.state === "done").sort(longestFirst);
  const waiting = [...blockedFirst(sessions).filter(isBlocked), ...done];
  return waiting.find(({ id }) => id !== open) ?? waiting[0];
}

/** What a program does and for how long, as the list says it; empty if nobody knows. */
export function doingText({ state, since }: Doing, now: number): string {
  const age = duration(now - Date.parse(since));
  switch (state) {
    case "unknown":
      return "";
    case "blocked":
      return `waits for you ${age}`;
    case "done":
      return `done ${age} ago`;
    default:
      return `${state} ${age}`;
  }
}

const longestFirst = (a: Waits, b: Waits): number => Date.parse(a.attention?.since ?? "") - Date.parse(b.attention?.since ?? "");
