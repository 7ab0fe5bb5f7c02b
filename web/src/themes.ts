// The colour themes that the page knows by name.

/** The colours of a theme, as `#rrggbb`. */
export interface Colours {
  background: string;
  foreground: string;
  cursor: string;
  selection: string;
  /** The sixteen ANSI colours: black, red, green, yellow, blue, magenta, cyan, white, then the bright ones. */
  ansi: string[];
}

export const STAYD_DARK = colours("0d1014 dfe3ea 5fd9c0 213547", "20252d f2777a 7fd08a e5c07b 74a9f5 c99bf2 62cfd6 c8ced8", "7c8798 ff979a a0e6a8 f5d999 9cc4ff dfbcff 8fe6eb f6f8fb");
export const STAYD_LIGHT = colours("ffffff 1d232c 0b7a6b bfe3dc", "1d232c b4232a 1f7a33 8a5a00 1f5fc4 8238b8 0c7280 6b7480", "59626e cf3239 2a8f40 a06a00 2f74e0 9a4fd0 11899a 3c4550");

/** The themes by the name under which they are stored. */
export const THEMES: ReadonlyMap<string, { title: string; colours: Colours }> = new Map(
  Object.entries({
    dark: { title: "stayd dark", colours: STAYD_DARK },
    light: { title: "stayd light", colours: STAYD_LIGHT },
    "catppuccin-latte": {
      title: "Catppuccin Latte",
      colours: colours("eff1f5 4c4f69 dc8a78 ccd0da", "5c5f77 d20f39 40a02b df8e1d 1e66f5 ea76cb 179299 acb0be", "6c6f85 d20f39 40a02b df8e1d 1e66f5 ea76cb 179299 bcc0cc"),
    },
    "catppuccin-mocha": {
      title: "Catppuccin Mocha",
      colours: colours("1e1e2e cdd6f4 f5e0dc 45475a", "45475a f38ba8 a6e3a1 f9e2af 89b4fa f5c2e7 94e2d5 bac2de", "585b70 f38ba8 a6e3a1 f9e2af 89b4fa f5c2e7 94e2d5 a6adc8"),
    },
    dracula: {
      title: "Dracula",
      colours: colours("282a36 f8f8f2 f8f8f2 44475a", "21222c ff5555 50fa7b f1fa8c bd93f9 ff79c6 8be9fd f8f8f2", "6272a4 ff6e6e 69ff94 ffffa5 d6acff ff92df a4ffff ffffff"),
    },
    "github-dark": {
      title: "GitHub Dark",
      colours: colours("0d1117 e6edf3 58a6ff 264f78", "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4", "6e7681 ffa198 56d364 e3b341 79c0ff d2a8ff 56d4dd ffffff"),
    },
    "github-light": {
      title: "GitHub Light",
      colours: colours("ffffff 1f2328 0969da b6d7ff", "24292f cf222e 116329 4d2d00 0969da 8250df 1b7c83 6e7781", "57606a a40e26 1a7f37 633c01 218bff a475f9 3192aa 8c959f"),
    },
    "gruvbox-dark": {
      title: "Gruvbox Dark",
      colours: colours("282828 ebdbb2 ebdbb2 504945", "282828 cc241d 98971a d79921 458588 b16286 689d6a a89984", "928374 fb4934 b8bb26 fabd2f 83a598 d3869b 8ec07c ebdbb2"),
    },
    "gruvbox-light": {
      title: "Gruvbox Light",
      colours: colours("fbf1c7 3c3836 3c3836 d5c4a1", "fbf1c7 cc241d 98971a d79921 458588 b16286 689d6a 7c6f64", "928374 9d0006 79740e b57614 076678 8f3f71 427b58 3c3836"),
    },
    monokai: {
      title: "Monokai",
      colours: colours("272822 f8f8f2 f8f8f0 49483e", "272822 f92672 a6e22e f4bf75 66d9ef ae81ff a1efe4 f8f8f2", "75715e f92672 a6e22e f4bf75 66d9ef ae81ff a1efe4 f9f8f5"),
    },
    nord: {
      title: "Nord",
      colours: colours("2e3440 d8dee9 d8dee9 434c5e", "3b4252 bf616a a3be8c ebcb8b 81a1c1 b48ead 88c0d0 e5e9f0", "4c566a bf616a a3be8c ebcb8b 81a1c1 b48ead 8fbcbb eceff4"),
    },
    "one-dark": {
      title: "One Dark",
      colours: colours("282c34 abb2bf 528bff 3e4451", "282c34 e06c75 98c379 e5c07b 61afef c678dd 56b6c2 abb2bf", "5c6370 e06c75 98c379 d19a66 61afef c678dd 56b6c2 ffffff"),
    },
    // Solarized's own bright black is its dark background, on which it would be invisible.
    "solarized-dark": {
      title: "Solarized Dark",
      colours: colours("002b36 839496 93a1a1 094352", "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5", "586e75 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3"),
    },
    "solarized-light": {
      title: "Solarized Light",
      colours: colours("fdf6e3 657b83 586e75 e4dcc4", "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5", "002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3"),
    },
    "tokyo-night": {
      title: "Tokyo Night",
      colours: colours("1a1b26 c0caf5 c0caf5 283457", "15161e f7768e 9ece6a e0af68 7aa2f7 bb9af7 7dcfff a9b1d6", "414868 f7768e 9ece6a e0af68 7aa2f7 bb9af7 7dcfff c0caf5"),
    },
  }),
);

function colours(main: string, normal: string, bright: string): Colours {
  const [background = "", foreground = "", cursor = "", selection = ""] = list(main);
  return { background, foreground, cursor, selection, ansi: [...list(normal), ...list(bright)] };
}

function list(text: string): string[] {
  return text.split(" ").map((colour) => `#${colour}`);
}

/** Whether a colour, `#rrggbb`, is closer to white than to black, by its perceived brightness. */
export function isLight(colour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return red * 0.299 + green * 0.587 + blue * 0.114 > 127;
}
