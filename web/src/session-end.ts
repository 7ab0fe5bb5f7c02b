// What is known of a session that is over: how it ended, and what it showed last.

import { getScreen, getSession } from "./api";
import { authorized } from "./login";
import type { Session } from "./messages";

/** Lines of its scrollback that are shown. */
const LINES = 1000;
/** How often a session that is being ended is looked at. */
const EVERY_MS = 1000;

/** Waits until the server says how a session ended; null once nobody wants to know. */
export async function waitForEnd(id: string, isWanted: () => boolean): Promise<Session | null> {
  for (;;) {
    const session = await authorized(() => getSession(id));
    if (!isWanted()) return null;
    if (session.ended_at !== null) return session;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** The lines that it showed last, with colours, without blank ones below; null: not known. */
export async function lastScreen(id: string): Promise<string[] | null> {
  try {
    const text = await authorized(() => getScreen(id, LINES));
    return text.replace(/(\s|\x1b\[[0-9;]*m)+$/, "").split(/\r?\n/);
  } catch {
    return null;
  }
}
