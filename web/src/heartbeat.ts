// Whether the line is alive, and how long a message takes there and back. Browsers do not tell of the
// WebSocket's own pings, so the page sends its own. A state machine without a clock or a socket; times
// are in ms of `performance.now()`.

/** Time between two pings. */
export const PING_EVERY_MS = 2500;
/** After so long without a word from the server the user is told. */
export const SILENT_AFTER_MS = 5000;
/** After so long the connection is given up for another one. */
export const GIVE_UP_AFTER_MS = 30_000;

/** The weight of a new measurement in the round trip's average. */
const WEIGHT = 0.25;

export class Heartbeat {
  private heardAt: number;
  private id = 0;
  private pinged: { id: number; at: number } | null = null;
  private pingedAt: number;
  private average: number | null = null;

  /** The connection was opened now. */
  constructor(now: number) {
    this.heardAt = now;
    this.pingedAt = now;
  }

  /** Something came from the server. */
  heard(now: number): void {
    this.heardAt = now;
  }

  /** The answer to a ping came. */
  answered(id: number, now: number): void {
    if (this.pinged?.id !== id) return;
    const took = now - this.pinged.at;
    this.average = this.average === null ? took : this.average + WEIGHT * (took - this.average);
    this.pinged = null;
  }

  /** Called often. The number of the ping that is to be sent now, if one is. */
  tick(now: number): number | null {
    if (this.pinged !== null || now - this.pingedAt < PING_EVERY_MS) return null;
    this.id += 1;
    this.pinged = { id: this.id, at: now };
    this.pingedAt = now;
    return this.id;
  }

  /** How long nothing was heard, though something was asked; 0 if all is well. A page that was suspended
      has asked nothing meanwhile. */
  silence(now: number): number {
    if (this.pinged === null || now - this.pinged.at < SILENT_AFTER_MS) return 0;
    const silence = now - this.heardAt;
    return silence < SILENT_AFTER_MS ? 0 : silence;
  }

  /** The average time there and back; null before the first answer. */
  get roundTrip(): number | null {
    return this.average;
  }
}
