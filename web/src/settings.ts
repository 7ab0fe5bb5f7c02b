// The look and the behaviour of the terminal in this browser.

import { loadSetting, saveSetting } from "./storage";
import { type Colours, THEMES } from "./themes";

export type CursorShape = "block" | "bar" | "underline";
export type Bell = "off" | "visual" | "sound";

export interface Settings {
  /** Names of fonts, separated by commas; empty: the page's own. */
  font: string;
  /** Pixels; null: as suits the window. */
  fontSize: number | null;
  /** A name in `THEMES`, `FOLLOW_SYSTEM` or `IMPORTED`. */
  theme: string;
  /** The theme that was imported last. */
  imported: { title: string; colours: Colours } | null;
  /** The least contrast of text with its background, from 1 (none) to 21; null: as suits the theme. */
  contrast: number | null;
  cursor: CursorShape;
  cursorBlinks: boolean;
  /** Lines; null: as many as the server keeps. */
  scrollback: number | null;
  copyOnSelect: boolean;
  bell: Bell;
}

/** The theme that follows the system's light or dark scheme. */
export const FOLLOW_SYSTEM = "system";
export const IMPORTED = "imported";
export const FONT_SIZE_MIN = 6;
export const FONT_SIZE_MAX = 40;
/** The server keeps at most so many lines, whatever its settings say. */
export const SCROLLBACK_MAX = 100_000;

/** The contrasts that are offered: none, and those of WCAG 2.2 for text and for text that is easy to read. */
export const CONTRASTS: readonly number[] = [1, 4.5, 7];

export const DEFAULTS: Readonly<Settings> = {
  font: "",
  fontSize: null,
  theme: FOLLOW_SYSTEM,
  imported: null,
  contrast: null,
  cursor: "block",
  cursorBlinks: true,
  scrollback: null,
  copyOnSelect: false,
  bell: "off",
};

const COLOUR = /^#[0-9a-f]{6}$/;
const STORED = "stayd-settings";

/** The names of fonts without what could end a CSS string or declaration. */
export function cleanFont(text: string): string {
  return text.replace(/[^\p{L}\p{N} ,._-]/gu, "").trim().slice(0, 200);
}

/** Settings as they were stored. What is missing or makes no sense has its default. */
export function parseSettings(text: string | null): Settings {
  let stored: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value === "object" && value !== null) stored = value as Record<string, unknown>;
  } catch {
    // Not written by this page: the defaults are in force.
  }
  const { font, fontSize, theme, contrast, cursor, cursorBlinks, scrollback, copyOnSelect, bell } = stored;
  const imported = parseImported(stored["imported"]);
  const known = theme === IMPORTED ? imported !== null : typeof theme === "string" && (theme === FOLLOW_SYSTEM || THEMES.has(theme));
  return {
    font: typeof font === "string" ? cleanFont(font) : DEFAULTS.font,
    fontSize: within(fontSize, FONT_SIZE_MIN, FONT_SIZE_MAX),
    theme: known ? (theme as string) : DEFAULTS.theme,
    imported,
    contrast: CONTRASTS.find((one) => one === contrast) ?? null,
    cursor: cursor === "bar" || cursor === "underline" ? cursor : DEFAULTS.cursor,
    cursorBlinks: typeof cursorBlinks === "boolean" ? cursorBlinks : DEFAULTS.cursorBlinks,
    scrollback: within(scrollback, 0, SCROLLBACK_MAX),
    copyOnSelect: copyOnSelect === true,
    bell: bell === "visual" || bell === "sound" ? bell : DEFAULTS.bell,
  };
}

function within(value: unknown, least: number, most: number): number | null {
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  return Math.min(most, Math.max(least, Math.round(value)));
}

function parseImported(value: unknown): Settings["imported"] {
  if (typeof value !== "object" || value === null) return null;
  const { title, colours } = value as { title?: unknown; colours?: Partial<Colours> | null };
  const { background, foreground, cursor, selection, ansi } = colours ?? {};
  if (typeof title !== "string" || !Array.isArray(ansi) || ansi.length !== 16) return null;
  const all = [background, foreground, cursor, selection, ...(ansi as unknown[])];
  return all.every((colour) => typeof colour === "string" && COLOUR.test(colour)) ? { title, colours: colours as Colours } : null;
}

class SettingsStore extends EventTarget {
  private values = parseSettings(loadSetting(STORED));

  constructor() {
    super();
    // Another tab of this browser has changed them.
    globalThis.addEventListener?.("storage", ({ key, newValue }: StorageEvent) => {
      if (key === STORED) this.take(parseSettings(newValue));
    });
  }

  get current(): Readonly<Settings> {
    return this.values;
  }

  change(changes: Partial<Settings>): void {
    const values = parseSettings(JSON.stringify({ ...this.values, ...changes }));
    saveSetting(STORED, JSON.stringify(values));
    this.take(values);
  }

  reset(): void {
    this.change(DEFAULTS);
  }

  private take(values: Settings): void {
    this.values = values;
    this.dispatchEvent(new Event("change"));
  }
}

/** Fires "change" when a setting has changed, here or in another tab. */
export const settings = new SettingsStore();
