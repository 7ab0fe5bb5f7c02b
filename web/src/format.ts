// Sessions as text for the page.

import { commandLine } from "./argv";
import { formatLabel } from "./labels";
import type { EndReason, Session, Viewer } from "./messages";
import { countdown, duration } from "./time";

/** The session's name. One that has none is called after what runs in it, and its shell's directory as
    far as it is known: `vim · ~/src/stayd`. */
export function nameOf(session: Session): string {
  if (session.name !== null) return session.name;
  const directory = session.cwd_now ?? null;
  const running = runningCommand(session);
  const program = running === null ? null : programOf(running);
  const shell = session.profile ?? lastPart(session.command[0] ?? "session");
  return directory === null ? (program ?? shell) : `${program ?? shell} · ${shortened(directory)}`;
}

/** The command that its shell runs now; null if there is none, or nobody tells. */
export function runningCommand({ shell }: Session): string | null {
  return shell?.state === "running" ? (shell.command ?? null) : null;
}

/** The exit code of its shell's last command, where that has failed. */
export function lastFailure({ shell }: Session): number | null {
  return shell?.state === "prompt" && shell.last_exit !== null && shell.last_exit !== 0 ? shell.last_exit : null;
}

/** The program that a command line runs: the first word that sets no variable, without its path. */
function programOf(line: string): string | null {
  const word = line.trim().split(/\s+/).find((one) => !/^\w+=/.test(one));
  return word === undefined || word === "" ? null : lastPart(word);
}

const lastPart = (path: string): string => path.split("/").pop() || path;

/** A directory with `~` in place of what looks like a home. */
const shortened = (path: string): string => path.replace(/^(\/home\/[^/]+|\/root)(?=\/|$)/, "~");

/** The command as one would type it. */
export const commandOf = (session: Session): string => commandLine(session.command);

/** The labels as the page shows them. */
export const labelTextsOf = (session: Session): string[] =>
  Object.entries(session.labels).map(([key, value]) => formatLabel(key, value));

/** No timeout ends it. */
export const isPinned = (session: Session): boolean => session.idle_timeout_s === null;

/** Its output is recorded, or its output and input. */
export const isRecorded = (session: Session): boolean => (session.recording ?? "off") !== "off";

/** Everything that a search looks at, except the name. */
export function searchTextOf(session: Session): string {
  return [session.title ?? "", commandOf(session), session.cwd, session.cwd_now ?? "", session.shell?.command ?? "", session.id, ...labelTextsOf(session)].join("\n");
}

/** Whether every word of the search occurs in the session's name, title, command, directory, id or labels. */
export function matchesSearch(session: Session, searched: string): boolean {
  const text = `${nameOf(session)}\n${searchTextOf(session)}`.toLowerCase();
  return searched.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** Who is attached, from this tab's point of view. */
export function attachedText(session: Session, me: string): string {
  const here = session.clients.some(({ client }) => client === me);
  const others = session.active_connections - (here ? 1 : 0);
  if (!here) return count(others, "client");
  return others > 0 ? `you + ${others}` : "you";
}

/** Every attached client in words. */
export function viewersOf(clients: Viewer[], me: string): string[] {
  return clients.map(({ client, mode, controller }) => {
    const role = controller ? " (in control)" : mode === "ro" ? " (view only)" : "";
    return `${client === me ? "this tab" : client}${role}`;
  });
}

/** The status, and the time that is left before the session ends. */
export function statusText(session: Session, me: string, now = Date.now()): string {
  const left = session.destroy_at === null ? null : countdown(Date.parse(session.destroy_at) - now);
  switch (session.status) {
    case "RUNNING":
      return left === null ? "running, no client yet" : `running · ends in ${left}${ifQuiet(session)}`;
    case "ACTIVE":
      return `active · ${attachedText(session, me)}`;
    case "IDLE":
      return left === null ? "idle" : `idle · ends in ${left}${ifQuiet(session)}`;
    default:
      return "ended";
  }
}

/** How long a session stays once everybody has left. */
export function stayText(session: Pick<Session, "idle_timeout_s" | "idle_when">): string {
  const { idle_timeout_s } = session;
  if (idle_timeout_s === null) return "kept for good";
  const quiet = ifQuiet(session) === "" ? "" : " and it is quiet";
  return `stays ${duration(idle_timeout_s * 1000)} after you leave${quiet}`;
}

/** ` if quiet`, where output and commands put the end off. */
export function ifQuiet({ idle_when }: Pick<Session, "idle_when">): string {
  return idle_when === "detached_and_quiet" ? " if quiet" : "";
}

/** `3 clients`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** How a session ended. */
export interface SessionEnd {
  code: number | null;
  signal: number | null;
  reason: EndReason | null;
}

/** How long a session waits for a client before it ends, as far as it is known. */
type Timeouts = Pick<Session, "idle_timeout_s" | "first_attach_timeout_s">;

export const sessionEnd = (session: Session): SessionEnd => ({
  code: session.exit_code,
  signal: session.exit_signal,
  reason: session.end_reason,
});

/** Whether the end was intended: an exit code of 0, a kill or a timeout. */
export function isCleanEnd({ code, signal, reason }: SessionEnd): boolean {
  if (reason === "killed" || reason === "idle_timeout" || reason === "first_attach_timeout") return true;
  return reason === "exited" && signal === null && code === 0;
}

/** One sentence about how a session ended. */
export function endText({ code, signal, reason }: SessionEnd, timeouts?: Timeouts | null): string {
  switch (reason) {
    case "killed":
      return "Ended on request, with everything that ran in it.";
    case "idle_timeout":
      return `Ended: nobody was attached ${span("for", timeouts?.idle_timeout_s) ?? "for too long"}.`;
    case "first_attach_timeout":
      return `Ended: nobody attached ${span("within", timeouts?.first_attach_timeout_s) ?? "in time"}.`;
    case "spawn_failed":
      return "The command could not be started.";
    case "orphaned":
      return "The process was lost because its holder was gone.";
    case "restore_failed":
      return "The session could not be restored after a restart of the server.";
    default:
      if (signal !== null) return `The process was ended by ${signalName(signal)}.`;
      if (code !== null) return `The process exited with code ${code}.`;
      return "The process has ended; its exit code is not known.";
  }
}

/** `for 30 min`; null where the timeout is not known: an event, for example, does not carry it. */
function span(preposition: "for" | "within", seconds: number | null | undefined): string | null {
  return seconds == null ? null : `${preposition} ${duration(seconds * 1000)}`;
}

/** The same in two or three words, for a row of the list. */
export function endSummary({ code, signal, reason }: SessionEnd): string {
  switch (reason) {
    case "killed":
      return "ended on request";
    case "idle_timeout":
      return "idle timeout";
    case "first_attach_timeout":
      return "never attached";
    case "spawn_failed":
      return "did not start";
    case "orphaned":
      return "process lost";
    case "restore_failed":
      return "not restored";
    default:
      if (signal !== null) return signalName(signal);
      return code === null ? "ended" : `exit ${code}`;
  }
}

const SIGNALS: Record<number, string> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  6: "SIGABRT",
  9: "SIGKILL",
  11: "SIGSEGV",
  13: "SIGPIPE",
  14: "SIGALRM",
  15: "SIGTERM",
};

/** The name of a Linux signal; rare ones by their number. */
export const signalName = (signal: number): string => SIGNALS[signal] ?? `signal ${signal}`;
