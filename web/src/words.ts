// Sessions in plain words.

import type { EndReason, Session } from "./messages";

/** What a session is called. */
export function nameOf(session: Session): string {
  return session.name ?? session.profile ?? session.command[0]?.split("/").pop() ?? "session";
}

/** Its command as one would type it. */
export function commandOf(session: Session): string {
  return session.command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`)).join(" ");
}

/** Whether all words that are searched for are in what is known of it. */
export function isFound(session: Session, searched: string): boolean {
  const labels = Object.entries(session.labels).map((label) => label.join("="));
  const known = [nameOf(session), session.title ?? "", commandOf(session), session.cwd, session.id, ...labels];
  const text = known.join("\n").toLowerCase();
  return searched.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** Where it is in its life. */
export function lifeOf(session: Session, now = Date.now()): string {
  switch (session.status) {
    case "RUNNING":
      return "running · nobody attached yet";
    case "ACTIVE":
      return `active · ${count(session.active_connections, "client")}`;
    case "IDLE":
      return session.destroy_at === null
        ? "idle · kept for good"
        : `idle · ends in ${duration(Date.parse(session.destroy_at) - now)}`;
    default:
      return "ended";
  }
}

/** `3 clients`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** A time span in its largest unit; never less than a second. */
export function duration(ms: number): string {
  const s = Math.max(1, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

/** How a session ended. */
export interface End {
  code: number | null;
  signal: number | null;
  reason: EndReason | null;
}

/** One line on how it ended. */
export function endOf({ code, signal, reason }: End): string {
  switch (reason) {
    case "killed":
      return "It was ended on request, with everything that ran in it.";
    case "idle_timeout":
      return "Nobody was attached for too long, so it was ended.";
    case "first_attach_timeout":
      return "Nobody attached in time, so it was ended.";
    case "spawn_failed":
      return "Its command could not be started.";
    case "orphaned":
      return "Its process was lost while the server was away.";
    case "restore_failed":
      return "It could not be restored after a restart of the server.";
    default:
      if (signal !== null) return `Signal ${signal} ended its process.`;
      if (code !== null) return `Its process exited with code ${code}.`;
      return "Its process is gone.";
  }
}
