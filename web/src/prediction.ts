// Local echo on slow links: predicts what the program will echo, by the rules of mosh. A character is
// expected at the cursor; it is shown once an earlier one since the last Enter was echoed, so that
// nothing shows where nothing is echoed, as at a password prompt. What comes otherwise than expected, or
// not at all, takes all predictions back. It knows no terminal: a `Screen` tells what is on it.

/** A line of the screen, wherever it scrolls to. */
export interface Line {
  /** Its number in the buffer; -1 once it is gone. */
  readonly line: number;
  dispose(): void;
}

/** The screen as the program has drawn it. */
export interface Screen {
  /** The cursor's column, and its line in the buffer. */
  cursor(): { column: number; line: number };
  columns(): number;
  /** The character in a cell; empty outside of the screen. */
  at(line: number, column: number): string;
  /** The line of the cursor. */
  mark(): Line;
}

/** A character that is expected. */
export interface Prediction {
  readonly character: string;
  readonly column: number;
  readonly line: Line;
  /** When it was typed. */
  readonly at: number;
  /** Whether it may be shown: an earlier one was echoed. */
  readonly shown: boolean;
}

/** Round trips in ms from which on predictions are shown, and below which they are not any more. */
export const SLOW_MS = 100;
const FAST_MS = 80;
/** A prediction that has not come true after so many round trips, and at least so many ms, was wrong. */
const TRIPS_MAX = 3;
const PATIENCE_MS = 500;
/** The most characters that are expected at once. */
const EXPECTED_MAX = 200;

const PRINTABLE = /^[\x20-\x7e\u00a1-\u02ff\u0370-\u052f]$/u;
const BACKSPACE = "\x7f";

export class Predictor {
  private expected: Prediction[] = [];
  /** An expectation since the last Enter has come true. */
  private trusted = false;
  /** A key was typed whose effect nobody knows: nothing is expected until what was typed has come. */
  private uncertain = false;
  private slow = false;

  constructor(private readonly screen: Screen) {}

  /** What may be shown now, from left to right. */
  get predictions(): readonly Prediction[] {
    return this.slow ? this.expected.filter((one) => one.shown) : [];
  }

  /** Whether something is expected, shown or not. */
  get expects(): boolean {
    return this.expected.length > 0;
  }

  /** Something was typed. `roundTrip` is null as long as it is unknown. */
  typed(text: string, now: number, roundTrip: number | null): void {
    if (roundTrip !== null) this.slow = roundTrip > (this.slow ? FAST_MS : SLOW_MS);
    if (!PRINTABLE.test(text)) {
      if (text === BACKSPACE && !this.uncertain && this.expected.length > 0) this.expected.pop()?.line.dispose();
      else this.doubt();
      return;
    }
    if (this.uncertain || this.expected.length >= EXPECTED_MAX) return this.doubt();
    const last = this.expected.at(-1);
    const cursor = this.screen.cursor();
    const column = last === undefined ? cursor.column : last.column + 1;
    // What comes after the last column depends on the program.
    if (column >= this.screen.columns() - 1) return this.doubt();
    this.expected.push({ character: text, column, line: this.screen.mark(), at: now, shown: this.trusted });
  }

  /** The program has drawn something, or time has passed. */
  settle(now: number, roundTrip: number | null): void {
    const cursor = this.screen.cursor();
    for (let next = this.expected[0]; next !== undefined; next = this.expected[0]) {
      const { line } = next.line;
      const isPassed = cursor.line > line || (cursor.line === line && cursor.column > next.column);
      const isThere = line >= 0 && this.screen.at(line, next.column) === next.character;
      if (isPassed && isThere) {
        this.trusted = true;
        this.expected.shift();
        next.line.dispose();
        if (!this.uncertain) this.expected = this.expected.map((one) => ({ ...one, shown: true }));
      } else if (isPassed || line < 0 || now - next.at > Math.max(PATIENCE_MS, TRIPS_MAX * (roundTrip ?? 0))) {
        return this.forget();
      } else return;
    }
    // Everything has come that was typed before the key in doubt.
    if (this.uncertain) this.uncertain = false;
  }

  /** Expects nothing any more, for example because another screen is drawn. */
  forget(): void {
    this.expected.forEach((one) => one.line.dispose());
    this.expected = [];
    this.trusted = false;
    this.uncertain = false;
  }

  /** A key whose effect nobody knows: what is expected may still come true, and what is typed next is
      shown only once it is echoed. */
  private doubt(): void {
    this.trusted = false;
    this.uncertain = this.expected.length > 0;
  }
}
