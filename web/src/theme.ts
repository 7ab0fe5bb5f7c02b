// The terminal's colours: those of the chosen theme, or those that follow the system's scheme.

import type { ITheme } from "@xterm/xterm";
import { FOLLOW_SYSTEM, IMPORTED, type Settings, settings } from "./settings";
import { type Colours, isLight, STAYD_DARK, STAYD_LIGHT, THEMES } from "./themes";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** The colours that the settings choose. */
export function chosenColours({ theme, imported }: Readonly<Settings> = settings.current): Colours {
  if (theme === IMPORTED && imported !== null) return imported.colours;
  const known = theme === FOLLOW_SYSTEM ? undefined : THEMES.get(theme)?.colours;
  return known ?? (prefersDark.matches ? STAYD_DARK : STAYD_LIGHT);
}

/** Whether the terminal's background is dark. */
export const isDark = (): boolean => !isLight(chosenColours().background);

/** Calls `act` when the system's scheme changes; returns what ends that. */
export function onSchemeChange(act: () => void): () => void {
  prefersDark.addEventListener("change", act);
  return () => prefersDark.removeEventListener("change", act);
}

/** xterm.js's names of the sixteen ANSI colours. */
const ANSI = ["", "bright"].flatMap((bright) =>
  ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"].map((name) =>
    bright === "" ? name : `bright${name[0]?.toUpperCase()}${name.slice(1)}`,
  ),
);

/** The colours as xterm.js takes them. */
export function theme(): ITheme {
  const { background, foreground, cursor, selection, ansi } = chosenColours();
  return {
    background,
    foreground,
    cursor,
    cursorAccent: background,
    selectionBackground: selection,
    overviewRulerBorder: background,
    scrollbarSliderBackground: `${foreground}33`,
    scrollbarSliderHoverBackground: `${foreground}66`,
    scrollbarSliderActiveBackground: `${foreground}88`,
    ...Object.fromEntries(ANSI.map((name, place) => [name, ansi[place]])),
  };
}
