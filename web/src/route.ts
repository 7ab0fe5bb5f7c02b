// The address bar: what is open, and the credential of a first visit.

import { type Credential, credentialInAddress } from "./credentials";
import { loadSetting, saveSetting } from "./storage";

const SESSION = /^#\/s\/([0-9a-fA-F-]{36})(\?ro)?$/;
/** A name, or `MACHINE/NAME` for a session of another machine of the fleet. */
const NAMED = /^#\/s\/(?:([a-z0-9-]+)\/)?([^/?]+)(\?ro)?$/;
const LAST = "stayd-last";

/** The session id in the address. */
export function openId(): string | null {
  return SESSION.exec(location.hash)?.[1]?.toLowerCase() ?? null;
}

/** Whether the address asks for a view-only attachment. */
export const isReadOnly = (): boolean => SESSION.exec(location.hash)?.[2] !== undefined;

/** The session name in the address, where somebody typed a name instead of an id. */
export function openName(): { machine: string | null; name: string; readOnly: boolean } | null {
  const found = openId() === null ? NAMED.exec(location.hash) : null;
  if (found === null) return null;
  const [, machine = null, name = "", ro] = found;
  const readOnly = ro !== undefined;
  try {
    return { machine, name: decodeURIComponent(name), readOnly };
  } catch {
    // A lone "%" stands for itself.
    return { machine, name, readOnly };
  }
}

/** The address of a session on this page, writable or view-only. */
export const addressOf = (id: string, readOnly = false): string => `#/s/${id}${readOnly ? "?ro" : ""}`;

/** Changes the address without a new entry in the history. */
export function replace(hash: string): void {
  history.replaceState(null, "", hash === "" ? location.pathname : hash);
}

/** The address of the page with the tokens. */
export const TOKENS = "#/tokens";

/** Removes the credential from the address, where it must not stay, and returns it. */
export function takeCredential(): Credential | null {
  const credential = credentialInAddress(location.hash);
  if (credential !== null) replace("");
  return credential;
}

/** Stores the session, so that the next visit opens it. */
export function rememberSession(id: string): void {
  saveSetting(LAST, id);
}

/** The session that was last open in this browser. */
export function lastSession(): string | null {
  return loadSetting(LAST);
}
