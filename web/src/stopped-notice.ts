// The notice that says why the open session cannot be used, and what can be done about it.

import type { ConnectionState } from "./connection";
import { endText, isCleanEnd, isRecorded, type SessionEnd } from "./format";
import type { Session } from "./messages";
import type { Notice } from "./panel";

/** What can be done about it. What is null is not allowed. */
export interface NoticeActions {
  start: (() => void) | null;
  attachHere(): void;
  restart: ((session: Session) => void) | null;
  startLike: ((session: Session) => void) | null;
  remove: ((session: Session) => void) | null;
  /** Saves its recording. */
  save(session: Session): void;
}

/** The notice for this state; null if there is nothing to say. */
export function stoppedNotice(connectionState: ConnectionState, end: SessionEnd | null, session: Session | null, actions: NoticeActions): Notice | null {
  const { start, restart, startLike, remove } = actions;
  const fresh = start === null ? [] : [{ label: "New session", act: start, primary: true }];
  switch (connectionState.is) {
    case "taken-over":
      return {
        title: "Opened in another tab",
        text: "The other tab has taken this session over. Both tabs can use it.",
        tone: "plain",
        actions: [{ label: "Use it here too", act: () => actions.attachHere(), primary: true }],
      };
    case "refused": {
      const text = connectionState.why === "" ? "The server refused this connection." : connectionState.why;
      return { title: "Connection refused", text, tone: "bad", actions: [{ label: "Reload", act: () => location.reload() }] };
    }
    case "missing": {
      const text = "The server has no session at this address. It may have been removed.";
      return { title: "No such session", text, tone: "bad", actions: fresh };
    }
    case "ended": {
      if (end === null) return null;
      const buttons =
        session === null
          ? fresh
          : [
              ...(restart === null ? [] : [{ label: "Run again", act: () => restart(session), primary: true }]),
              ...(startLike === null ? [] : [{ label: "New session like this", act: () => startLike(session) }]),
              ...(isRecorded(session) ? [{ label: "Save the recording", act: () => actions.save(session) }] : []),
              ...(remove === null ? [] : [{ label: "Remove…", act: () => remove(session) }]),
            ];
      const when = session?.ended_at ? ` It ended on ${new Date(session.ended_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.` : "";
      const soon = session?.restart_at ? ` It restarts at ${new Date(session.restart_at).toLocaleTimeString()}.` : "";
      return { title: "Session ended", text: `${endText(end, session)}${when}${soon}`, tone: isCleanEnd(end) ? "good" : "bad", actions: buttons };
    }
    default:
      return null;
  }
}
