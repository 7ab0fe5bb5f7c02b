// Which sessions want to be looked at: they rang, said something, fell quiet after work or
// ended while nobody was looking. Without a page, so that it can be tested.

/** Why a session wants to be looked at. */
export type Cause = "bell" | "notification" | "quiet" | "ended";

/** What an event says that matters here. */
export interface Sign {
  session: string;
  cause: Cause;
  /** When, in ms of the epoch; for `quiet` since when there was no output. */
  at: number;
  text: string;
}

/** Output that went on for so long after the last look was work; less is an echo. */
const WORK_MS = 10_000;

export class Attention {
  private readonly wanted = new Map<string, Sign>();
  /** When each session was looked at last; before that, when the page came. */
  private readonly seen = new Map<string, number>();

  constructor(private readonly began: number) {}

  /** Takes a sign of a session that nobody looks at now; true if it is worth telling. */
  notice(sign: Sign): boolean {
    if (sign.cause === "quiet") {
      const worked = sign.at - (this.seen.get(sign.session) ?? this.began);
      // What a session said before is not overwritten by its silence after it.
      if (worked < WORK_MS || this.wanted.has(sign.session)) return false;
    }
    this.wanted.set(sign.session, sign);
    return true;
  }

  /** It is looked at, or was until now. */
  look(session: string, now: number): boolean {
    this.seen.set(session, now);
    return this.wanted.delete(session);
  }

  of(session: string): Sign | undefined {
    return this.wanted.get(session);
  }

  /** Forgets those that are neither live nor worth a look any more. */
  drop(session: string): boolean {
    return this.wanted.delete(session);
  }

  get count(): number {
    return this.wanted.size;
  }
}

/** The tab's title with what waits before it. */
export function badged(title: string, count: number): string {
  return count > 0 ? `(${count}) ${title}` : title;
}

/** One line on why. */
export function causeText({ cause, text }: Sign): string {
  switch (cause) {
    case "bell":
      return "rang";
    case "notification":
      return text === "" ? "notified" : text;
    case "quiet":
      return "fell quiet";
    case "ended":
      return text === "" ? "ended" : text;
  }
}
