// The calls of the HTTP API that the page makes.

import type { Profile, Recording, Restart, Session, SizePolicy } from "./messages";

/** The server refused (problem+json), or did not answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }

  /** There is no login, or the server no longer knows it. */
  get unauthorized(): boolean {
    return this.status === 401;
  }

  /** The server is away, overloaded or broken: the same call may work later. */
  get passing(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

async function request(method: string, path: string, body?: unknown, tag?: string): Promise<Response> {
  const headers: Record<string, string> = {};
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  if (tag !== undefined) headers["if-match"] = tag;
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  if (response.ok) return response;
  const problem: unknown = await response.json().catch(() => null);
  const details = (typeof problem === "object" && problem !== null ? problem : {}) as {
    code?: string;
    detail?: string;
    title?: string;
  };
  throw new ApiError(
    response.status,
    details.code ?? "unknown",
    details.detail ?? details.title ?? `The server answered ${response.status}.`,
  );
}

const path = (id: string) => `/api/v1/sessions/${encodeURIComponent(id)}`;

/** Exchanges the token for a cookie. */
export async function login(token: string): Promise<void> {
  await request("POST", "/api/v1/login", { token });
}

/** The live sessions, in the server's order. */
export async function listSessions(): Promise<Session[]> {
  const response = await request("GET", "/api/v1/sessions?limit=500");
  return ((await response.json()) as { sessions: Session[] }).sessions;
}

export async function getSession(id: string): Promise<Session> {
  return (await getSessionWithEtag(id)).session;
}

/** A session and the ETag of its state. */
export async function getSessionWithEtag(id: string): Promise<{ session: Session; tag: string }> {
  const response = await request("GET", path(id));
  return { session: (await response.json()) as Session, tag: response.headers.get("etag") ?? "*" };
}

/** The settings of a new session. The server has a default for each that is missing. */
export interface NewSession {
  name?: string;
  profile?: string;
  command?: string[];
  cwd?: string;
  labels?: Record<string, string>;
  /** Null: pinned, no timeout ends it. */
  idle_timeout_s?: number | null;
  size_policy?: SizePolicy;
  restart?: Restart;
  recording?: Recording;
}

/** Starts a session. */
export async function createSession(wanted: NewSession): Promise<Session> {
  return (await (await request("POST", "/api/v1/sessions", wanted)).json()) as Session;
}

/** Changes fields of a session, if it still has this ETag. Returns the changed session. */
export async function changeSession(id: string, change: Partial<Session>, tag?: string): Promise<Session> {
  return (await (await request("PATCH", path(id), change, tag)).json()) as Session;
}

/** Kills everything that runs in the session; `purge` deletes its record as well. */
export async function killSession(id: string, purge = false): Promise<void> {
  await request("DELETE", path(id) + (purge ? "?purge=true" : ""));
}

/** Runs the session's command again. */
export async function restartSession(id: string): Promise<Session> {
  return (await (await request("POST", `${path(id)}/restart`)).json()) as Session;
}

/** A page of the ended sessions, newest first, and the cursor of the next page. */
export async function listEndedSessions(cursor: string | null): Promise<{ sessions: Session[]; next: string | null }> {
  const query = new URLSearchParams({ status: "TERMINATED,ERROR", limit: "20" });
  if (cursor !== null) query.set("cursor", cursor);
  const response = await request("GET", `/api/v1/sessions?${query.toString()}`);
  return (await response.json()) as { sessions: Session[]; next: string | null };
}

/** The current or last screen of a session with colours, and its scrollback. */
export async function getScreen(id: string, scrollback: number): Promise<string> {
  return (await request("GET", `${path(id)}/screen?format=ansi&scrollback=${scrollback}`)).text();
}

/** Downloads the recording of a session. */
export function saveRecording(id: string): void {
  const link = document.createElement("a");
  link.href = `${path(id)}/recording`;
  link.download = "";
  link.click();
}

/** The profiles: commands that the server knows by name. */
export async function listProfiles(): Promise<Profile[]> {
  return ((await (await request("GET", "/api/v1/profiles")).json()) as { profiles: Profile[] }).profiles;
}
