// The terminal's colours, which follow the system's light or dark scheme.

import type { ITheme } from "@xterm/xterm";

export const prefersDark = matchMedia("(prefers-color-scheme: dark)");

const dark: ITheme = {
  background: "#0d1014",
  foreground: "#dfe3ea",
  cursor: "#5fd9c0",
  cursorAccent: "#0d1014",
  selectionBackground: "#2f4858",
  overviewRulerBorder: "#0d1014",
  scrollbarSliderBackground: "#98a3b333",
  scrollbarSliderHoverBackground: "#98a3b366",
  scrollbarSliderActiveBackground: "#98a3b388",
  black: "#20252d",
  red: "#f2777a",
  green: "#7fd08a",
  yellow: "#e5c07b",
  blue: "#74a9f5",
  magenta: "#c99bf2",
  cyan: "#62cfd6",
  white: "#c8ced8",
  brightBlack: "#7c8798",
  brightRed: "#ff979a",
  brightGreen: "#a0e6a8",
  brightYellow: "#f5d999",
  brightBlue: "#9cc4ff",
  brightMagenta: "#dfbcff",
  brightCyan: "#8fe6eb",
  brightWhite: "#f6f8fb",
};

const light: ITheme = {
  background: "#ffffff",
  foreground: "#1d232c",
  cursor: "#0b7a6b",
  cursorAccent: "#ffffff",
  selectionBackground: "#bfe3dc",
  overviewRulerBorder: "#ffffff",
  scrollbarSliderBackground: "#59636f33",
  scrollbarSliderHoverBackground: "#59636f66",
  scrollbarSliderActiveBackground: "#59636f88",
  black: "#1d232c",
  red: "#b4232a",
  green: "#1f7a33",
  yellow: "#8a5a00",
  blue: "#1f5fc4",
  magenta: "#8238b8",
  cyan: "#0c7280",
  white: "#6b7480",
  brightBlack: "#59626e",
  brightRed: "#cf3239",
  brightGreen: "#2a8f40",
  brightYellow: "#a06a00",
  brightBlue: "#2f74e0",
  brightMagenta: "#9a4fd0",
  brightCyan: "#11899a",
  brightWhite: "#3c4550",
};

export const theme = (): ITheme => (prefersDark.matches ? dark : light);
