// The columns and rows that an element has room for, and the size of the text: as the settings say, or
// as large as lets a terminal of another size fit into the element.

import { FitAddon } from "@xterm/addon-fit";
import type { Terminal } from "@xterm/xterm";

/** The largest terminal that the server accepts, in columns or rows. */
const SIZE_MAX = 1000;
/** The text of a terminal that is made to fit has a size between these, in pixels, in such steps. */
const ZOOM_MIN = 4;
const ZOOM_MAX = 40;
const ZOOM_STEP = 0.5;

export class TerminalFit {
  private readonly addon = new FitAddon();
  /** The size for which the element has room, with text of the size that the settings say. */
  room = { cols: 80, rows: 24 };
  private zoomed = false;
  private fontSize = 14;

  constructor(
    private readonly terminal: Terminal,
    private readonly frame: HTMLElement,
  ) {
    terminal.loadAddon(this.addon);
    terminal.onResize(() => this.zoom());
  }

  get isZoomed(): boolean {
    return this.zoomed;
  }

  /** The text has this size unless it is made to fit. */
  setFontSize(size: number): void {
    this.fontSize = size;
    this.terminal.options.fontSize = size;
  }

  /** Makes a terminal of another size fit, or shows its text in the size of the settings again. */
  setZoomed(zoomed: boolean): void {
    this.zoomed = zoomed;
    this.frame.classList.toggle("zoomed", zoomed);
    this.zoom();
  }

  /** Looks at the element. Returns whether the size for which it has room has changed. */
  measure(): boolean {
    this.terminal.options.fontSize = this.fontSize;
    const room = this.addon.proposeDimensions();
    this.zoom();
    if (!room || !Number.isFinite(room.cols) || !Number.isFinite(room.rows)) return false;
    const cols = Math.min(room.cols, SIZE_MAX);
    const rows = Math.min(room.rows, SIZE_MAX);
    const changed = cols !== this.room.cols || rows !== this.room.rows;
    this.room = { cols, rows };
    return changed;
  }

  private zoom(): void {
    const { options, cols, rows } = this.terminal;
    options.fontSize = this.fontSize;
    if (!this.zoomed) return;
    const fits = () => {
      const room = this.addon.proposeDimensions();
      return room !== undefined && room.cols >= cols && room.rows >= rows;
    };
    const room = this.addon.proposeDimensions();
    if (room === undefined) return;
    const wanted = this.fontSize * Math.min((room.cols + 1) / cols, (room.rows + 1) / rows);
    // Cells are whole pixels on the screen, so they do not grow evenly with the text.
    let size = Math.min(ZOOM_MAX, Math.ceil(wanted / ZOOM_STEP + 1) * ZOOM_STEP);
    options.fontSize = size;
    while (size > ZOOM_MIN && !fits()) options.fontSize = size -= ZOOM_STEP;
    this.frame.scrollTo(0, 0);
  }
}
