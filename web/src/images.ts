// Pictures in the terminal: sixel, and those of iTerm2. They are drawn as they come; what the server redraws
// later has none.

import type { Terminal } from "@xterm/xterm";
import { muteQueries } from "./terminal-queries";

/** The most that a program can have this page hold: pixels of a picture, bytes of one on its way, megabytes of
    all pictures. */
const BOUNDS = { pixelLimit: 1 << 24, sixelSizeLimit: 8 << 20, iipSizeLimit: 8 << 20, storageLimit: 32 };

/** Has the terminal draw pictures, once the code for that is loaded. */
export async function drawImages(terminal: Terminal, isOpen: () => boolean): Promise<void> {
  try {
    const { ImageAddon } = await import("@xterm/addon-image");
    if (!isOpen()) return;
    // The server tells programs the terminal's size.
    terminal.loadAddon(new ImageAddon({ ...BOUNDS, enableSizeReports: false }));
    // The addon would answer, too, what the terminal is.
    muteQueries(terminal);
  } catch {
    // Without it the text is all there is.
  }
}
