// The terminal on the page: xterm.js in a frame, given bytes, giving keystrokes.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { Terminal } from "@xterm/xterm";
import { copySelection, onCopyRequest } from "./clipboard";
import { type BarKey, type HeldModifiers, sequence } from "./key-sequences";
import { findLinks, linkHandler } from "./links";
import type { Bytes } from "./messages";
import { accelerate } from "./renderer";
import { screenReader } from "./screen-reader";
import { muteQueries } from "./terminal-queries";
import { prefersDark, theme } from "./theme";
import { WholeCharacters } from "./utf8";

/** What the terminal tells its owner. */
export interface TerminalCallbacks {
  typed(text: string): void;
  /** Mouse reports in the old encoding: bytes, not characters. */
  bytes(bytes: Bytes): void;
  /** The frame has room for this size now. */
  room(cols: number, rows: number): void;
  titleChanged(title: string): void;
  /** False: the page takes this key, the program does not get it. */
  key(event: KeyboardEvent): boolean;
  /** The program wants this in the clipboard. */
  copyRequested(text: string): void;
  /** Where the link that is pointed at leads; null: none is. */
  linkHovered(target: string | null): void;
  /** Which match of how many is shown; -1: unknown. */
  searchResults(index: number, count: number): void;
}

/** Where letters must be smaller for enough of them in a line. */
const NARROW = "(max-width: 46rem)";
/** Lines that scroll back. */
const SCROLLBACK = 10_000;
/** The largest terminal that the server accepts, in columns or rows. */
const SIZE_MAX = 1000;
/** Forgets everything wherever the parser stands: CAN, ST, RIS. */
const FULL_RESET = "\x18\x1b\\\x1bc";

export class TerminalView {
  private readonly terminal: Terminal;
  private readonly fit = new FitAddon();
  private readonly observer: ResizeObserver;
  private readonly updateColours = () => this.applyTheme();
  private readonly updateScreenReaderMode = () => (this.terminal.options.screenReaderMode = screenReader.isOn);
  private readonly characters = new WholeCharacters();
  readonly search = new SearchAddon();
  /** What is drawn was drawn before: what it asks for was asked then. */
  private isReplay = false;
  private disposed = false;
  private fitted = { cols: 80, rows: 24 };

  constructor(
    private readonly frame: HTMLElement,
    callbacks: TerminalCallbacks,
  ) {
    this.terminal = new Terminal({
      // For the choice of the Unicode version.
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: getComputedStyle(frame).getPropertyValue("--mono"),
      fontSize: matchMedia(NARROW).matches ? 12 : 14,
      lineHeight: 1.15,
      linkHandler: linkHandler((target) => callbacks.linkHovered(target)),
      macOptionIsMeta: true,
      // Where found text is marked, beside the scrollbar's own slider.
      overviewRuler: { width: 10 },
      screenReaderMode: screenReader.isOn,
      scrollback: SCROLLBACK,
      // Programs save the title and bring it back when they end.
      windowOptions: { pushTitle: true, popTitle: true },
    });
    // Emoji are two columns wide, as for the programs and for the server's screen.
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    this.applyTheme();
    prefersDark.addEventListener("change", this.updateColours);
    screenReader.addEventListener("change", this.updateScreenReaderMode);
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => callbacks.searchResults(resultIndex, resultCount));
    muteQueries(this.terminal);
    onCopyRequest(this.terminal, (text) => !this.isReplay && callbacks.copyRequested(text));
    findLinks(this.terminal, (target) => callbacks.linkHovered(target));
    this.terminal.attachCustomKeyEventHandler((event) => callbacks.key(event));
    this.terminal.onData((text) => callbacks.typed(text));
    this.terminal.onBinary((text) => callbacks.bytes(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.terminal.onTitleChange((title) => callbacks.titleChanged(title));
    this.terminal.open(frame);
    this.terminal.textarea?.setAttribute("aria-label", "Terminal input");
    this.measure();
    this.resize(this.fitted.cols, this.fitted.rows);
    const refit = () => {
      if (!this.disposed && this.measure()) callbacks.room(this.fitted.cols, this.fitted.rows);
    };
    this.observer = new ResizeObserver(refit);
    void accelerate(this.terminal, () => !this.disposed, refit);
    this.observer.observe(frame);
  }

  /** The size that the frame has room for. */
  get room(): { cols: number; rows: number } {
    return this.fitted;
  }

  /** Shows bytes, for the first time or again; `done` once they are parsed. */
  draw(bytes: Bytes, replay: boolean, done: () => void): void {
    this.terminal.write("", () => (this.isReplay = replay));
    this.terminal.write(this.characters.take(bytes), done);
  }

  /** Forgets everything, after what was written before. */
  reset(): void {
    this.characters.reset();
    this.terminal.write(FULL_RESET);
  }

  /** Takes the session's size, after what was written before. */
  resize(cols: number, rows: number): void {
    this.terminal.write("", () => this.terminal.resize(cols, rows));
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Scrolls the frame, if the terminal is larger, to where the program wrote last. */
  reveal(): void {
    this.terminal.write("", () => {
      const { cursorY } = this.terminal.buffer.active;
      const { scrollHeight, clientHeight } = this.frame;
      const line = scrollHeight / this.terminal.rows;
      this.frame.scrollTop = Math.max(0, (cursorY + 1) * line - clientHeight);
    });
  }

  /** Nothing can be typed; what is there can be read, searched and copied. */
  lock(): void {
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorBlink = false;
  }

  /** It is over: no cursor either. */
  freeze(): void {
    this.lock();
    this.terminal.write("\x1b[?25l");
    this.terminal.blur();
  }

  selection(): string {
    return this.terminal.getSelection();
  }

  copy(): void {
    copySelection(this.terminal);
  }

  /** Types a key that this keyboard does not have. */
  press(key: BarKey, held: HeldModifiers): void {
    this.terminal.input(sequence(key, held, this.terminal.modes.applicationCursorKeysMode));
  }

  paste(text: string): void {
    this.terminal.paste(text);
  }

  dispose(): void {
    this.disposed = true;
    this.observer.disconnect();
    prefersDark.removeEventListener("change", this.updateColours);
    screenReader.removeEventListener("change", this.updateScreenReaderMode);
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

  private applyTheme(): void {
    this.terminal.options.theme = theme();
    // Programs choose their colours for a dark screen; on a light one some need help.
    this.terminal.options.minimumContrastRatio = prefersDark.matches ? 1 : 4.5;
  }
}
