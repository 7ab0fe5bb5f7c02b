// Why the open session cannot be used, and what to do about it, as a notice.

import type { Link } from "./connection";
import type { Session } from "./messages";
import type { Notice } from "./panel";
import { type End, endOf, isGood, isRecorded } from "./words";

export interface Ways {
  start(): void;
  attachHere(): void;
  again(session: Session): void;
  like(session: Session): void;
  remove(session: Session): void;
  /** Saves its recording. */
  save(session: Session): void;
}

/** Null: there is nothing to say. */
export function notice(link: Link, end: End | null, session: Session | null, ways: Ways): Notice | null {
  const fresh = { label: "New session", act: () => ways.start(), primary: true };
  switch (link.is) {
    case "taken-over":
      return {
        title: "Opened in another tab",
        text: "The other tab uses this session in place of this one. Both can.",
        tone: "plain",
        actions: [{ label: "Use it here as well", act: () => ways.attachHere(), primary: true }],
      };
    case "refused": {
      const text = link.why === "" ? "The server refused this connection." : link.why;
      return { title: "Refused", text, tone: "bad", actions: [{ label: "Reload", act: () => location.reload() }] };
    }
    case "missing": {
      const text = "The server knows no session under this address. It may have been removed.";
      return { title: "No such session", text, tone: "bad", actions: [fresh] };
    }
    case "ended": {
      if (end === null) return null;
      const actions =
        session === null
          ? [fresh]
          : [
              { label: "Run again", act: () => ways.again(session), primary: true },
              { label: "New session like it", act: () => ways.like(session) },
              ...(isRecorded(session) ? [{ label: "Save the recording", act: () => ways.save(session) }] : []),
              { label: "Remove…", act: () => ways.remove(session) },
            ];
      const when = session?.ended_at ? ` That was on ${new Date(session.ended_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.` : "";
      const soon = session?.restart_at ? ` It is started again by itself at ${new Date(session.restart_at).toLocaleTimeString()}.` : "";
      return { title: "Session ended", text: `${endOf(end)}${when}${soon}`, tone: isGood(end) ? "good" : "bad", actions };
    }
    default:
      return null;
  }
}
