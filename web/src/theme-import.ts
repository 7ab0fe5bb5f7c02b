// Reads colour themes from files: VS Code's (JSON with comments) and iTerm's (.itermcolors, a property list).

import { type Colours, isLight, STAYD_DARK, STAYD_LIGHT } from "./themes";

const ANSI = ["Black", "Red", "Green", "Yellow", "Blue", "Magenta", "Cyan", "White"];

/** The colours of a theme file. Throws an error that says what is wrong with the file. */
export function importTheme(text: string): Colours {
  const found = /<plist[\s>]/.test(text.slice(0, 1000)) ? fromIterm(text) : fromVsCode(text);
  const { background, foreground, ansi = [] } = found;
  if (background === undefined && foreground === undefined && !ansi.some((colour) => colour !== undefined)) {
    throw new Error("The file has no terminal colours.");
  }
  // What the file leaves out comes from the page's own theme of the same kind.
  const own = isLight(background ?? STAYD_DARK.background) ? STAYD_LIGHT : STAYD_DARK;
  return {
    background: background ?? own.background,
    foreground: foreground ?? own.foreground,
    cursor: found.cursor ?? foreground ?? own.cursor,
    selection: found.selection ?? own.selection,
    ansi: own.ansi.map((colour, place) => ansi[place] ?? colour),
  };
}

/** The colours that a file names. */
interface Found {
  background: string | undefined;
  foreground: string | undefined;
  cursor: string | undefined;
  selection: string | undefined;
  ansi: (string | undefined)[];
}

function fromVsCode(text: string): Found {
  let theme: unknown;
  try {
    theme = JSON.parse(withoutComments(text));
  } catch {
    throw new Error("The file is neither a VS Code theme (JSON) nor an iTerm theme (.itermcolors).");
  }
  const colors: unknown = typeof theme === "object" && theme !== null && "colors" in theme ? theme.colors : null;
  const named = (typeof colors === "object" && colors !== null ? colors : {}) as Record<string, unknown>;
  const background = hex(named["terminal.background"]) ?? hex(named["editor.background"]);
  const one = (...keys: string[]) => keys.map((key) => hex(named[key], background)).find((colour) => colour !== undefined);
  return {
    background,
    foreground: one("terminal.foreground", "editor.foreground"),
    cursor: one("terminalCursor.foreground", "editorCursor.foreground"),
    selection: one("terminal.selectionBackground", "editor.selectionBackground"),
    ansi: ["", "Bright"].flatMap((bright) => ANSI.map((name) => one(`terminal.ansi${bright}${name}`))),
  };
}

function fromIterm(text: string): Found {
  const named = new Map<string, string>();
  for (const [, key = "", body = ""] of text.matchAll(/<key>([\w ]+ Color)<\/key>\s*<dict>([\s\S]*?)<\/dict>/g)) {
    const parts = ["Red", "Green", "Blue"].map((part) => {
      const value = new RegExp(`<key>${part} Component</key>\\s*<(?:real|integer)>([^<]+)<`).exec(body)?.[1];
      return Math.round(Math.min(1, Math.max(0, Number(value ?? NaN))) * 255);
    });
    if (parts.every((part) => Number.isFinite(part))) named.set(key, joined(parts));
  }
  return {
    background: named.get("Background Color"),
    foreground: named.get("Foreground Color"),
    cursor: named.get("Cursor Color"),
    selection: named.get("Selection Color"),
    ansi: Array.from({ length: 16 }, (_, place) => named.get(`Ansi ${place} Color`)),
  };
}

/** JSON as VS Code writes it, made plain: without comments and without commas before a closing bracket. */
function withoutComments(text: string): string {
  const bare = text.replace(/^\ufeff/, "").replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string: string | undefined) => string ?? "");
  return bare.replace(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, string: string | undefined) => string ?? "");
}

/** A colour as `#rrggbb`, from #rgb, #rgba, #rrggbb or #rrggbbaa; a transparent one is mixed with what is behind it. */
function hex(value: unknown, behind?: string): string | undefined {
  if (typeof value !== "string") return undefined;
  const digits = /^#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i.exec(value.trim())?.[1];
  if (digits === undefined) return undefined;
  const full = digits.length < 6 ? [...digits].map((digit) => digit + digit).join("") : digits;
  const [red = 0, green = 0, blue = 0, alpha = 255] = (full.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
  const share = behind === undefined ? 1 : alpha / 255;
  const below = behind === undefined ? [0, 0, 0] : [1, 3, 5].map((at) => parseInt(behind.slice(at, at + 2), 16));
  return joined([red, green, blue].map((part, place) => Math.round(part * share + (below[place] ?? 0) * (1 - share))));
}

function joined(parts: number[]): string {
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
