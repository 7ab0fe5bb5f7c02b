// Which sessions want to be looked at: they rang, said something, fell quiet after work or
// ended while nobody was looking. Without a page, so that it can be tested.

/** Why a session wants to be looked at. */
export type Cause = "bell" | "notification" | "quiet" | "ended";

/** What an event says that matters here. */
export interface Alert {
  session: string;
  cause: Cause;
  /** When, in ms of the epoch; for `quiet` since when there was no output. */
  at: number;
  text: string;
}

/** Output that went on for so long after the last look was work; less is an echo. */
const WORK_MS = 10_000;

export class Attention {
  private readonly alerts = new Map<string, Alert>();
  /** When each session was looked at last; before that, when the page came. */
  private readonly seen = new Map<string, number>();

  constructor(private readonly began: number) {}

  /** Takes a sign of a session that nobody looks at now; true if it is worth telling. */
  add(alert: Alert): boolean {
    if (alert.cause === "quiet") {
      const worked = alert.at - (this.seen.get(alert.session) ?? this.began);
      // What a session said before is not overwritten by its silence after it.
      if (worked < WORK_MS || this.alerts.has(alert.session)) return false;
    }
    this.alerts.set(alert.session, alert);
    return true;
  }

  /** It is looked at, or was until now. */
  markSeen(session: string, now: number): boolean {
    this.seen.set(session, now);
    return this.alerts.delete(session);
  }

  get(session: string): Alert | undefined {
    return this.alerts.get(session);
  }

  /** Forgets those that are neither live nor worth a look any more. */
  remove(session: string): boolean {
    return this.alerts.delete(session);
  }

  get count(): number {
    return this.alerts.size;
  }
}

/** The tab's title with what waits before it. */
export function titleWithCount(title: string, count: number): string {
  return count > 0 ? `(${count}) ${title}` : title;
}

/** One line on why. */
export function alertText({ cause, text }: Alert): string {
  switch (cause) {
    case "bell":
      return "rang";
    case "notification":
      return text === "" ? "sent a notification" : text;
    case "quiet":
      return "fell quiet";
    case "ended":
      return text === "" ? "ended" : text;
  }
}
