// The wire types: the session's JSON and the control messages of `stayd.v1`, as `src/protocol`
// defines them.

export type Status = "RUNNING" | "ACTIVE" | "IDLE" | "TERMINATED" | "ERROR";

export type EndReason =
  | "exited"
  | "signaled"
  | "killed"
  | "idle_timeout"
  | "first_attach_timeout"
  | "spawn_failed"
  | "orphaned"
  | "restore_failed";

/** A session; times are RFC 3339, UTC. */
export interface Session {
  id: string;
  name: string | null;
  profile: string | null;
  command: string[];
  cwd: string;
  status: Status;
  active_connections: number;
  created_at: string;
  /** Null until the command is restarted; an older server leaves it out. */
  started_at?: string | null;
  updated_at: string;
  last_activity_at: string;
  destroy_at: string | null;
  ended_at: string | null;
  end_reason: EndReason | null;
  exit_code: number | null;
  exit_signal: number | null;
  pid: number | null;
  cols: number;
  rows: number;
  idle_timeout_s: number | null;
  /** The timeout of a session that is kept for good, before it was; an older server leaves it out, and the next. */
  idle_timeout_before_s?: number | null;
  idle_when?: IdleWhen;
  first_attach_timeout_s: number | null;
  labels: Record<string, string>;
  title: string | null;
  /** Bytes of output so far. */
  offset: number;
  bell_at: string | null;
  notification: { title: string | null; body: string; at: string } | null;
  quiet_since: string | null;
  /** What its shell tells of its commands; an older server leaves out what follows. */
  shell?: Shell | null;
  /** The directory of its shell, where it tells it. */
  cwd_now?: string | null;
  /** What its program does, and whether it needs somebody. */
  attention?: Doing;
  size_policy: SizePolicy;
  clients: Viewer[];
  /** An older server leaves out what follows. */
  restart?: Restart;
  restarts?: number;
  restart_at?: string | null;
  recording?: Recording;
  /** The machine where it runs; only where the server is in a fleet. */
  node?: string;
}

/** What a program is doing: it needs nobody, it waits for an answer, for something to do, or has done what
    it was given. */
export type DoingState = "unknown" | "working" | "blocked" | "idle" | "done";

/** What a session's program is doing. */
export interface Doing {
  state: DoingState;
  /** What it asks, what it has done. */
  message: string | null;
  since: string;
  source: "report" | "osc" | "rules" | null;
}

/** What a shell tells of its commands. */
export interface Shell {
  state: "prompt" | "running";
  /** The last command, if the shell tells it. */
  command?: string | null;
  last_exit: number | null;
  started_at: string | null;
  ended_at: string | null;
}

/** Whether the timeout runs whenever nobody is attached, or only while the program is quiet as well. */
export type IdleWhen = "detached" | "detached_and_quiet";
/** What determines the terminal's size. */
export type SizePolicy = "latest" | "smallest" | "fixed";
/** Whether the command is restarted after it has ended. */
export type Restart = "never" | "on-failure" | "always";
/** What is recorded; `all` is output and input. */
export type Recording = "off" | "output" | "all";

/** One attached client. */
export interface Viewer {
  client: string;
  mode: "rw" | "ro";
  /** It typed or attached last. */
  controller: boolean;
  /** Somebody looks at it; an older server leaves it out. */
  looking?: boolean;
}

/** A command that the server knows by name. */
export interface Profile {
  name: string;
  command: string[];
  cwd: string | null;
  restart?: Restart;
  recording?: Recording;
}

/** An event of a session. Which fields are present depends on its kind; one of a command has those of
    `Shell`, one of attention those of `Doing`. */
export interface SessionEvent extends Partial<Omit<Shell, "state">>, Partial<Omit<Doing, "state">> {
  /** Without the prefix `session.`. */
  kind: string;
  state?: Shell["state"] | DoingState;
  session: string;
  name: string | null;
  at: string;
  status?: Status;
  active_connections?: number;
  title?: string | null;
  body?: string;
  quiet_since?: string;
  cwd_now?: string | null;
  end_reason?: EndReason | null;
  exit_code?: number | null;
  exit_signal?: number | null;
}

/** The first message: where the output and this client's input continue. */
export interface Attached {
  type: "attached";
  session: Session;
  client: string;
  /** Offset of the first output byte that follows. */
  offset: number;
  /** Input bytes of this client that were accepted so far. */
  input: number;
  /** Bytes of input that may be sent beyond the accepted ones. */
  input_window: number;
  mode: "rw" | "ro";
  cols: number;
  rows: number;
  /** Lines of scrollback that come back after a reload; an older server leaves it out. */
  scrollback_lines?: number;
}

/** The next binary message, of `length` bytes, redraws the screen as of `offset`. */
export interface Snapshot {
  type: "snapshot";
  offset: number;
  length: number;
  /** It contains everything that the screen shows; an older server leaves it out. */
  complete?: boolean;
}

/** The session's state changed. */
export interface SessionState {
  type: "state";
  status: Status;
  active_connections: number;
  destroy_at: string | null;
  clients: Viewer[];
}

/** The session ended; the server then closes with 1000. */
export interface Exit {
  type: "exit";
  code: number | null;
  signal: number | null;
  reason: EndReason;
}

/** The server refused a request of this client. */
export interface ErrorMessage {
  type: "error";
  code: string;
  message: string;
}

export type ServerMessage =
  | Attached
  | Snapshot
  | { type: "input"; received: number }
  | { type: "resized"; offset: number; cols: number; rows: number }
  | SessionState
  | Exit
  | { type: "pong"; id: number }
  | ErrorMessage;

/** What one may do, from least to most. */
export type Role = "viewer" | "controller" | "admin";

/** The sessions that exist for somebody; `own`: those that they have created. */
export type Scope = "all" | "own" | { sessions: string[] } | { labels: Record<string, string> };

/** Whom a request speaks for. */
export interface Principal {
  name: string;
  kind: "owner" | "token" | "share";
  role: Role;
  scope: Scope;
  expires_at: string | null;
}

/** A token, without its secret. */
export interface Token {
  name: string;
  role: Role;
  scope: Scope;
  created_at: string;
  created_by: string;
  expires_at: string | null;
}

/** A share link, without its secret. It ends with the session's record where it has no end of its own. */
export interface Share {
  id: string;
  mode: "ro" | "rw";
  created_at: string;
  created_by: string;
  expires_at: string | null;
}

/** The bytes of a WebSocket message or of input. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A machine of a fleet. Of one that is offline, only its sessions may still tell. */
export interface Machine {
  name: string;
  /** It is the one whose page this is. */
  self: boolean;
  state: "online" | "offline";
  version: string | null;
  labels: Record<string, string>;
  live_sessions: number | null;
  max_sessions: number | null;
  load: number | null;
  cores: number | null;
  since: string | null;
  heard_at: string | null;
  /** It has no sessions of its own. */
  gateway: boolean;
  /** The most that anybody may do there from another machine. */
  rights: Role;
}

/** The fleet that the server is in, as it knows it. `self` null: it is in none. */
export interface FleetState {
  self: string | null;
  /** The server reaches what connects the machines. */
  connected: boolean;
  /** When it last heard of any machine. */
  heard_at: string | null;
  /** Sorted by name. */
  nodes: Machine[];
}
