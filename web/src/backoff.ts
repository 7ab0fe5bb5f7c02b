// How long to wait before the next attempt to connect.

/** The longest wait while an outage is young: clients are back a second after a server restart. */
const QUICK_MS = 1000;
/** An outage is young for this long. */
const YOUNG_MS = 60_000;
/** The longest wait of all. */
const SLOW_MS = 10_000;

/**
 * Milliseconds before attempt `attempt` (from 0) of an outage that has lasted `outage` ms.
 * Half of it is random, so that a thousand clients do not come back in one instant.
 */
export function delay(attempt: number, outage: number, random: () => number = Math.random): number {
  const longest = outage < YOUNG_MS ? QUICK_MS : SLOW_MS;
  const full = Math.min(longest, 200 * 2 ** Math.min(attempt, 10));
  return full * (0.5 + 0.5 * random());
}
