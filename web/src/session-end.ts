// Fetches how an ended session ended, and its last screen.

import { getScreen, getSession } from "./api";
import { authorized } from "./login";
import type { Session } from "./messages";

/** How many lines of scrollback are fetched. */
const LINES = 1000;
/** How often the server is asked while a session is ending. */
const EVERY_MS = 1000;

/** Waits until the server knows how a session ended; null once the caller has lost interest. */
export async function waitForEnd(id: string, isWanted: () => boolean): Promise<Session | null> {
  for (;;) {
    const session = await authorized(() => getSession(id));
    if (!isWanted()) return null;
    if (session.ended_at !== null) return session;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** The lines of the last screen with colours, without blank ones at the end; null if there is none. */
export async function lastScreen(id: string): Promise<string[] | null> {
  try {
    const text = await authorized(() => getScreen(id, LINES));
    return text.replace(/(\s|\x1b\[[0-9;]*m)+$/, "").split(/\r?\n/);
  } catch {
    return null;
  }
}
