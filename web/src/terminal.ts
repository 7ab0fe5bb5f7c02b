// The terminal on the page: xterm.js in a frame, given bytes, giving keystrokes.

import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { Terminal } from "@xterm/xterm";
import { WholeCharacters } from "./characters";
import type { Bytes } from "./messages";
import { muteQueries } from "./queries";
import { prefersDark, theme } from "./theme";

/** What the terminal tells its owner. */
export interface Owner {
  typed(bytes: Bytes): void;
  /** The frame has room for this size now. */
  room(cols: number, rows: number): void;
  titled(title: string): void;
  /** False: the page takes this key, the program does not get it. */
  key(event: KeyboardEvent): boolean;
}

/** Lines that scroll back. */
const SCROLLBACK = 10_000;
/** The largest terminal that the server accepts, in columns or rows. */
const SIZE_MAX = 1000;
/** Forgets everything wherever the parser stands: CAN, ST, RIS. */
const FORGET = "\x18\x1b\\\x1bc";

export class Screen {
  private readonly terminal: Terminal;
  private readonly fit = new FitAddon();
  private readonly observer: ResizeObserver;
  private readonly recolour = () => this.colour();
  private readonly characters = new WholeCharacters();
  private fitted = { cols: 80, rows: 24 };

  constructor(
    frame: HTMLElement,
    owner: Owner,
  ) {
    this.terminal = new Terminal({
      // For the choice of the Unicode version.
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: getComputedStyle(frame).getPropertyValue("--mono"),
      fontSize: 14,
      lineHeight: 1.15,
      macOptionIsMeta: true,
      scrollback: SCROLLBACK,
      // Programs save the title and bring it back when they end.
      windowOptions: { pushTitle: true, popTitle: true },
    });
    // Emoji are two columns wide, as for the programs and for the server's screen.
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    this.colour();
    prefersDark.addEventListener("change", this.recolour);
    this.terminal.loadAddon(this.fit);
    muteQueries(this.terminal);
    this.terminal.attachCustomKeyEventHandler((event) => owner.key(event));
    this.terminal.onData((text) => owner.typed(new TextEncoder().encode(text)));
    // Mouse reports in the old encoding are bytes, not characters.
    this.terminal.onBinary((text) => owner.typed(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.terminal.onTitleChange((title) => owner.titled(title));
    this.terminal.open(frame);
    this.terminal.textarea?.setAttribute("aria-label", "Terminal input");
    this.measure();
    this.resize(this.fitted.cols, this.fitted.rows);
    this.observer = new ResizeObserver(() => {
      if (this.measure()) owner.room(this.fitted.cols, this.fitted.rows);
    });
    this.observer.observe(frame);
  }

  /** The size that the frame has room for. */
  get room(): { cols: number; rows: number } {
    return this.fitted;
  }

  /** Shows bytes; `done` once they are parsed. */
  draw(bytes: Bytes, done: () => void): void {
    this.terminal.write(this.characters.take(bytes), done);
  }

  /** Forgets everything, after what was written before. */
  reset(): void {
    this.characters.reset();
    this.terminal.write(FORGET);
  }

  /** Takes the session's size, after what was written before. */
  resize(cols: number, rows: number): void {
    this.terminal.write("", () => this.terminal.resize(cols, rows));
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Nothing can be typed any more. */
  freeze(): void {
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorBlink = false;
    this.terminal.blur();
  }

  dispose(): void {
    this.observer.disconnect();
    prefersDark.removeEventListener("change", this.recolour);
    this.terminal.dispose();
  }

  private measure(): boolean {
    const room = this.fit.proposeDimensions();
    if (!room || !Number.isFinite(room.cols) || !Number.isFinite(room.rows)) return false;
    const cols = Math.min(room.cols, SIZE_MAX);
    const rows = Math.min(room.rows, SIZE_MAX);
    const changed = cols !== this.fitted.cols || rows !== this.fitted.rows;
    this.fitted = { cols, rows };
    return changed;
  }

  private colour(): void {
    this.terminal.options.theme = theme();
    // Programs choose their colours for a dark screen; on a light one some need help.
    this.terminal.options.minimumContrastRatio = prefersDark.matches ? 1 : 4.5;
  }
}
