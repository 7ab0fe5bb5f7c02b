// Scrolling that goes on after the finger has left: as fast as the finger was, and ever slower.

/** Movements older than this say nothing about the finger's speed at its end. */
const RECENT_MS = 80;
/** The speed falls to a third in this time. */
const DECAY_MS = 325;
/** Slower than this, in pixels a millisecond, it stands still. */
const STILL = 0.03;

export class Momentum {
  private moves: { at: number; by: number }[] = [];
  private speed = 0;

  /** The finger came down: everything stands still. */
  stop(): void {
    this.moves = [];
    this.speed = 0;
  }

  /** The finger moved by so many pixels. */
  moved(by: number, at: number): void {
    this.moves.push({ at, by });
  }

  /** The finger left. Returns whether it was moving. */
  release(at: number): boolean {
    const recent = this.moves.filter((move) => at - move.at <= RECENT_MS);
    const first = recent[0];
    const distance = recent.slice(1).reduce((sum, { by }) => sum + by, 0);
    const time = first === undefined ? 0 : at - first.at;
    this.moves = [];
    this.speed = time > 0 ? distance / time : 0;
    return Math.abs(this.speed) > STILL;
  }

  /** By how many pixels it moves in the next milliseconds; 0: it stands still. */
  step(ms: number): number {
    if (Math.abs(this.speed) <= STILL) return 0;
    const by = this.speed * ms;
    this.speed *= Math.exp(-ms / DECAY_MS);
    return by;
  }
}
