// How many sessions are side by side, and which: remembered by the browser.

import { loadSetting, saveSetting } from "./storage";

export type PaneCount = 1 | 2 | 4;

export interface Layout {
  count: PaneCount;
  /** The sessions' ids, pane by pane; null: the pane is empty. */
  sessions: (string | null)[];
}

const STORED = "stayd-layout";

/** A layout as it was stored; one session alone if it makes no sense. */
export function parseLayout(text: string | null): Layout {
  try {
    const { count, sessions } = JSON.parse(text ?? "{}") as Partial<Layout>;
    if ((count === 2 || count === 4) && Array.isArray(sessions)) {
      const ids = sessions.slice(0, count).map((id: unknown) => (typeof id === "string" ? id : null));
      return { count, sessions: ids };
    }
  } catch {
    // Not written by this page.
  }
  return { count: 1, sessions: [] };
}

export const loadLayout = (): Layout => parseLayout(loadSetting(STORED));

export const saveLayout = (layout: Layout): void => saveSetting(STORED, JSON.stringify(layout));
