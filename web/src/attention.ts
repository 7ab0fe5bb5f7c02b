// Which sessions need attention: they rang the bell, sent a notification, fell quiet after work or
// ended while nobody was watching. It knows nothing of the page, so that it can be tested.

/** Why a session needs attention. */
export type Cause = "bell" | "notification" | "quiet" | "ended" | "blocked" | "done";

/** A reason to look at a session, as its event tells it. */
export interface Alert {
  session: string;
  cause: Cause;
  /** Time in ms since the epoch; for `quiet` the time of the last output. */
  at: number;
  text: string;
}

/** Output that lasts this long after the user last looked was work. Less is only an echo of typing. */
const WORK_MS = 10_000;

export class Attention {
  private readonly alerts = new Map<string, Alert>();
  /** When the user last saw each session; without an entry, the time at which the page was loaded. */
  private readonly seen = new Map<string, number>();

  constructor(private readonly began: number) {}

  /** Takes an alert of a session that is not visible; true if the user should hear of it. */
  add(alert: Alert): boolean {
    const before = this.alerts.get(alert.session);
    if (alert.cause === "quiet") {
      const worked = alert.at - (this.seen.get(alert.session) ?? this.began);
      // Silence must not hide the bell or the notification before it.
      if (worked < WORK_MS || before !== undefined) return false;
    }
    // A program that sends a notification is done with something: it is the same news.
    if (alert.cause === "done" && before?.cause === "notification" && before.text === alert.text) return false;
    // Nor must a bell hide what is asked.
    if (before?.cause === "blocked" && alert.cause !== "blocked" && alert.cause !== "done") return false;
    this.alerts.set(alert.session, alert);
    return true;
  }

  /** The user sees this session now, or did until now. */
  markSeen(session: string, now: number): boolean {
    this.seen.set(session, now);
    return this.alerts.delete(session);
  }

  /** The session asks nothing any more, and what it has done is old. */
  goesOn(session: string): void {
    const cause = this.alerts.get(session)?.cause;
    if (cause === "blocked" || cause === "done") this.alerts.delete(session);
  }

  get(session: string): Alert | undefined {
    return this.alerts.get(session);
  }

  /** Removes the alert of a session that has ended. */
  remove(session: string): boolean {
    return this.alerts.delete(session);
  }

  get count(): number {
    return this.alerts.size;
  }
}

/** The tab's title, preceded by the number of alerts. */
export function titleWithCount(title: string, count: number): string {
  return count > 0 ? `(${count}) ${title}` : title;
}

/** One line about the reason. */
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
    case "done":
      return text;
    // The list tells it by itself.
    case "blocked":
      return "";
  }
}
