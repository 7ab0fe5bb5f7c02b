// The address bar: which session is open, and the token that a first visit brings.

import { loadSetting, saveSetting } from "./storage";

const SESSION = /^#\/s\/([0-9a-fA-F-]{36})(\?ro)?$/;
const NAMED = /^#\/s\/([^/?]+)(\?ro)?$/;
const LAST = "stayd-last";

/** The session that the address names. */
export function openId(): string | null {
  return SESSION.exec(location.hash)?.[1]?.toLowerCase() ?? null;
}

/** Whether the address asks to look only. */
export const isReadOnly = (): boolean => SESSION.exec(location.hash)?.[2] !== undefined;

/** What the address names that is no id: a session's name, as somebody types it. */
export function openName(): { name: string; readOnly: boolean } | null {
  const found = openId() === null ? NAMED.exec(location.hash) : null;
  if (found === null) return null;
  const [, name = "", readOnly] = found;
  try {
    return { name: decodeURIComponent(name), readOnly: readOnly !== undefined };
  } catch {
    // A lone "%" stands for itself.
    return { name, readOnly: readOnly !== undefined };
  }
}

/** The address of a session on this page, to type into it or to look only. */
export const addressOf = (id: string, readOnly = false): string => `#/s/${id}${readOnly ? "?ro" : ""}`;

/** Changes the address without an entry in the history. */
export function replace(hash: string): void {
  history.replaceState(null, "", hash === "" ? location.pathname : hash);
}

/** Takes the token out of the address, where it must not stay. */
export function takeToken(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token !== null) replace("");
  return token;
}

/** Remembers the session for the next visit. */
export function rememberSession(id: string): void {
  saveSetting(LAST, id);
}

/** The session that was open last in this browser. */
export function lastSession(): string | null {
  return loadSetting(LAST);
}
