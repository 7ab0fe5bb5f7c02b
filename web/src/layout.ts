// The number of sessions side by side, and their ids: remembered by the tab, for a reload, and by the browser,
// for the next visit.

import { loadSetting, loadTabSetting, saveSetting, saveTabSetting } from "./storage";

export type PaneCount = 1 | 2 | 4;

/** A session in a pane. */
export interface PaneSession {
  id: string;
  /** The user only looks on. */
  readOnly: boolean;
}

export interface Layout {
  count: PaneCount;
  /** The sessions, pane by pane; null: the pane is empty. */
  sessions: (PaneSession | null)[];
}

const STORED = "stayd-layout";

/** A layout as it was stored; one session alone if it makes no sense. */
export function parseLayout(text: string | null): Layout {
  try {
    const { count, sessions } = JSON.parse(text ?? "{}") as Partial<Layout>;
    if ((count === 2 || count === 4) && Array.isArray(sessions)) {
      return { count, sessions: sessions.slice(0, count).map(parseSession) };
    }
  } catch {
    // Not written by this page.
  }
  return { count: 1, sessions: [] };
}

function parseSession(stored: unknown): PaneSession | null {
  if (typeof stored !== "object" || stored === null) return null;
  const { id, readOnly } = stored as Partial<PaneSession>;
  return typeof id === "string" ? { id, readOnly: readOnly === true } : null;
}

/** The layout of the last visit; of this tab, if it was reloaded. Null: the tab was opened for one session
    by its address, which shows that one alone. */
export function loadLayout(isLinked: boolean): Layout | null {
  const own = loadTabSetting(STORED);
  return own === null && isLinked ? null : parseLayout(own ?? loadSetting(STORED));
}

export function saveLayout(layout: Layout): void {
  const text = JSON.stringify(layout);
  saveTabSetting(STORED, text);
  saveSetting(STORED, text);
}
