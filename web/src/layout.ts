// How many sessions are side by side, and which: remembered by the browser.

import { loadSetting, saveSetting } from "./storage";

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

export const loadLayout = (): Layout => parseLayout(loadSetting(STORED));

export const saveLayout = (layout: Layout): void => saveSetting(STORED, JSON.stringify(layout));
