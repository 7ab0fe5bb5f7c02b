// The calls of the HTTP API that the page makes.

import type { Credential } from "./credentials";
import type { FleetState, IdleWhen, Principal, Profile, Recording, Restart, Role, Session, Share, SizePolicy, Token } from "./messages";
import { forbiddenText } from "./rights";

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
  const init: RequestInit = { method, headers };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  if (tag !== undefined) headers["if-match"] = tag;
  return send(path, init);
}

async function send(path: string, init: RequestInit): Promise<Response> {
  init = { ...init, credentials: "same-origin", cache: "no-store" };
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  // 304 is an answer as well: what was asked for is as it was.
  if (response.ok || response.status === 304) return response;
  const problem: unknown = await response.json().catch(() => null);
  const details = (typeof problem === "object" && problem !== null ? problem : {}) as {
    code?: string;
    detail?: string;
    title?: string;
    needs?: string;
  };
  const forbidden = details.code === "forbidden" ? forbiddenText(details.needs) : undefined;
  throw new ApiError(
    response.status,
    details.code ?? "unknown",
    forbidden ?? details.detail ?? details.title ?? `The server answered ${response.status}.`,
  );
}

const path = (id: string) => `api/v1/sessions/${encodeURIComponent(id)}`;

/** Exchanges a credential for a cookie. */
export async function login({ kind, secret }: Credential): Promise<void> {
  await request("POST", "api/v1/login", kind === "code" ? { code: secret } : { token: secret });
}

/** Ends the login, and everything that was opened with it. */
export async function logout(): Promise<void> {
  await request("POST", "api/v1/logout");
}

/** Whom this page speaks for. */
export async function whoAmI(): Promise<Principal> {
  return (await (await request("GET", "api/v1/whoami")).json()) as Principal;
}

/** The key with which a browser subscribes to web push, base64url. */
export async function pushKey(): Promise<string> {
  return ((await (await request("GET", "api/v1/push")).json()) as { public_key: string }).public_key;
}

/** Has this browser told what needs somebody. Returns the id of that. */
export async function putSubscription(endpoint: string, keys: { p256dh: string; auth: string }): Promise<string> {
  return ((await (await request("PUT", "api/v1/push/subscriptions", { endpoint, keys })).json()) as { id: string }).id;
}

/** Has it told no more. */
export async function dropSubscription(id: string): Promise<void> {
  await request("DELETE", `api/v1/push/subscriptions/${encodeURIComponent(id)}`);
}

/** A piece of a file that is uploaded. */
export interface Piece {
  name: string;
  /** The upload's own name, by which it goes on. */
  upload: string;
  /** The piece's place in the file, in bytes. */
  offset: number;
  /** The file's length, in bytes. */
  total: number;
}

/** Puts a piece of a file into a session's directory. With the last one, the answer has the file's path. */
export async function putPiece(
  id: string,
  { name, upload, offset, total }: Piece,
  body: Blob,
  signal: AbortSignal,
): Promise<{ received: number; path?: string }> {
  const query = new URLSearchParams({ name, upload, offset: String(offset), total: String(total) });
  const headers = { "content-type": "application/octet-stream" };
  const response = await send(`${path(id)}/files?${query}`, { method: "PUT", headers, body, signal });
  return (await response.json()) as { received: number; path?: string };
}

/** Removes what has come of a file. */
export async function cancelUpload(id: string, { name, upload }: Pick<Piece, "name" | "upload">): Promise<void> {
  await request("DELETE", `${path(id)}/files?${new URLSearchParams({ name, upload })}`);
}

/** The tokens, by name. */
export async function listTokens(): Promise<Token[]> {
  return ((await (await request("GET", "api/v1/tokens")).json()) as { tokens: Token[] }).tokens;
}

/** A new token. Its scope is all sessions, or what exactly one of the last three names. */
export interface NewToken {
  name: string;
  role: Role;
  /** Null: it never ends. */
  expires_s: number | null;
  /** Ids, or names of live sessions. */
  sessions?: string[];
  labels?: Record<string, string>;
  own?: boolean;
}

/** Makes a token. The answer has its secret, this once. */
export async function createToken(wanted: NewToken): Promise<Token & { token: string }> {
  return (await (await request("POST", "api/v1/tokens", wanted)).json()) as Token & { token: string };
}

export async function removeToken(name: string): Promise<void> {
  await request("DELETE", `api/v1/tokens/${encodeURIComponent(name)}`);
}

/** The share links of a session that are in force, oldest first. */
export async function listShares(id: string): Promise<Share[]> {
  return ((await (await request("GET", `${path(id)}/shares`)).json()) as { shares: Share[] }).shares;
}

/** Makes a share link. The answer has its address, this once. `expires_s` null: with the session's record. */
export async function createShare(id: string, mode: "ro" | "rw", expires_s: number | null): Promise<Share & { url: string }> {
  return (await (await request("POST", `${path(id)}/shares`, { mode, expires_s })).json()) as Share & { url: string };
}

export async function endShare(id: string, share: string): Promise<void> {
  await request("DELETE", `${path(id)}/shares/${encodeURIComponent(share)}`);
}

/** The live sessions, in the server's order. */
export async function listSessions(): Promise<Session[]> {
  const response = await request("GET", "api/v1/sessions?limit=500");
  return ((await response.json()) as { sessions: Session[] }).sessions;
}

/** The fleet that the server is in, and the ETag of that. */
export interface TaggedFleet {
  state: FleetState;
  tag: string | null;
}

/** Fetches it; null if it still has this ETag. */
export async function getFleet(tag: string | null): Promise<TaggedFleet | null> {
  const response = await send("api/v1/nodes", { headers: tag === null ? {} : { "if-none-match": tag } });
  if (response.status === 304) return null;
  return { state: (await response.json()) as FleetState, tag: response.headers.get("etag") };
}

/** A page of the live sessions of all machines or of one, the cursor of the next page, and its ETag. */
export interface FleetPage {
  sessions: Session[];
  next: string | null;
  tag: string | null;
}

/** Fetches such a page; null if it still has this ETag. */
export async function listFleetSessions(node: string, cursor: string | null, tag: string | null): Promise<FleetPage | null> {
  const query = new URLSearchParams({ node, limit: "500" });
  if (cursor !== null) query.set("cursor", cursor);
  const response = await send(`api/v1/sessions?${query}`, { headers: tag === null ? {} : { "if-none-match": tag } });
  if (response.status === 304) return null;
  const page = (await response.json()) as Omit<FleetPage, "tag">;
  return { ...page, tag: response.headers.get("etag") };
}

/** A session by its id. */
export async function getSession(id: string): Promise<Session> {
  return (await getSessionWithEtag(id)).session;
}

/** A live session by its name, on this machine or another. */
export async function getNamedSession(name: string, node: string | null): Promise<Session> {
  const at = node === null ? path(name) : `api/v1/nodes/${encodeURIComponent(node)}/sessions/${encodeURIComponent(name)}`;
  return (await (await request("GET", at)).json()) as Session;
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
  idle_when?: IdleWhen;
  size_policy?: SizePolicy;
  restart?: Restart;
  recording?: Recording;
  /** The machine of a fleet where it starts, or `any`; without it, this server's. */
  node?: string;
  /** Labels of the machine: the one of these with the fewest sessions. */
  node_labels?: Record<string, string>;
}

/** Starts a session. */
export async function createSession(wanted: NewSession): Promise<Session> {
  return (await (await request("POST", "api/v1/sessions", wanted)).json()) as Session;
}

/** Changes fields of a session, if it still has this ETag. Returns the changed session. */
export async function changeSession(id: string, change: Partial<Session>, tag?: string): Promise<Session> {
  return (await (await request("PATCH", path(id), change, tag)).json()) as Session;
}

/** Types into a session. */
export async function typeInto(id: string, text: string): Promise<void> {
  await send(`${path(id)}/input`, { method: "POST", body: text, headers: { "content-type": "application/octet-stream" } });
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
  const response = await request("GET", `api/v1/sessions?${query.toString()}`);
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

/** The profiles: commands that the server knows by name, or another machine's. */
export async function listProfiles(node: string | null = null): Promise<Profile[]> {
  const at = node === null ? "api/v1/profiles" : `api/v1/nodes/${encodeURIComponent(node)}/profiles`;
  return ((await (await request("GET", at)).json()) as { profiles: Profile[] }).profiles;
}
