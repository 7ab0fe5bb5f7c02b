// The HTTP interface, as far as the page needs it.

import type { Session } from "./messages";

/** An answer that says no (problem+json), or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }

  /** The login is missing or has been forgotten. */
  get unauthorized(): boolean {
    return this.status === 401;
  }

  /** Nobody answered, or somebody who cannot at the moment. */
  get passing(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

async function request(method: string, path: string, body?: unknown): Promise<Response> {
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  if (response.ok) return response;
  const problem: unknown = await response.json().catch(() => null);
  const said = (typeof problem === "object" && problem !== null ? problem : {}) as {
    code?: string;
    detail?: string;
    title?: string;
  };
  throw new ApiError(
    response.status,
    said.code ?? "unknown",
    said.detail ?? said.title ?? `The server answered ${response.status}.`,
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
  return (await (await request("GET", path(id))).json()) as Session;
}

/** Starts a session of a profile. */
export async function createSession(wanted: {
  profile: string;
  cols?: number;
  rows?: number;
}): Promise<Session> {
  return (await (await request("POST", "/api/v1/sessions", wanted)).json()) as Session;
}

/** Changes what is said of a session; the session as it is then. */
export async function changeSession(id: string, change: Partial<Session>): Promise<Session> {
  return (await (await request("PATCH", path(id), change)).json()) as Session;
}

/** Ends everything that runs in the session. */
export async function killSession(id: string): Promise<void> {
  await request("DELETE", path(id));
}
