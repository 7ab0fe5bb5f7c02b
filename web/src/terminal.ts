// The terminal on the page: xterm.js in a frame, given bytes, giving keystrokes.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { Terminal } from "@xterm/xterm";
import { WholeCharacters } from "./characters";
import { copySelection, hearCopies } from "./clipboard";
import { type BarKey, type Held, sequence } from "./keys";
import { findLinks, linkHandler } from "./links";
import type { Bytes } from "./messages";
import { muteQueries } from "./queries";
import { screenReader } from "./reader";
import { accelerate } from "./renderer";
import { prefersDark, theme } from "./theme";

/** What the terminal tells its owner. */
export interface Owner {
  typed(text: string): void;
  /** Mouse reports in the old encoding: bytes, not characters. */
  bytes(bytes: Bytes): void;
  /** The frame has room for this size now. */
  room(cols: number, rows: number): void;
  titled(title: string): void;
  /** False: the page takes this key, the program does not get it. */
  key(event: KeyboardEvent): boolean;
  /** The program wants this in the clipboard. */
  copies(text: string): void;
  /** Where the link that is pointed at leads; null: none is. */
  points(target: string | null): void;
  /** Which match of how many is shown; -1: unknown. */
  found(index: number, count: number): void;
}

/** Where letters must be smaller for enough of them in a line. */
const NARROW = "(max-width: 46rem)";
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
  private readonly reread = () => (this.terminal.options.screenReaderMode = screenReader.isOn);
  private readonly characters = new WholeCharacters();
  readonly search = new SearchAddon();
  /** What is drawn was drawn before: what it asks for was asked then. */
  private replays = false;
  private disposed = false;
  private fitted = { cols: 80, rows: 24 };

  constructor(
    private readonly frame: HTMLElement,
    owner: Owner,
  ) {
    this.terminal = new Terminal({
      // For the choice of the Unicode version.
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: getComputedStyle(frame).getPropertyValue("--mono"),
      fontSize: matchMedia(NARROW).matches ? 12 : 14,
      lineHeight: 1.15,
      linkHandler: linkHandler((target) => owner.points(target)),
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
    this.colour();
    prefersDark.addEventListener("change", this.recolour);
    screenReader.addEventListener("change", this.reread);
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => owner.found(resultIndex, resultCount));
    muteQueries(this.terminal);
    hearCopies(this.terminal, (text) => !this.replays && owner.copies(text));
    findLinks(this.terminal, (target) => owner.points(target));
    this.terminal.attachCustomKeyEventHandler((event) => owner.key(event));
    this.terminal.onData((text) => owner.typed(text));
    this.terminal.onBinary((text) => owner.bytes(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.terminal.onTitleChange((title) => owner.titled(title));
    this.terminal.open(frame);
    this.terminal.textarea?.setAttribute("aria-label", "Terminal input");
    this.measure();
    this.resize(this.fitted.cols, this.fitted.rows);
    const refit = () => {
      if (!this.disposed && this.measure()) owner.room(this.fitted.cols, this.fitted.rows);
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
    this.terminal.write("", () => (this.replays = replay));
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
  press(key: BarKey, held: Held): void {
    this.terminal.input(sequence(key, held, this.terminal.modes.applicationCursorKeysMode));
  }

  paste(text: string): void {
    this.terminal.paste(text);
  }

  dispose(): void {
    this.disposed = true;
    this.observer.disconnect();
    prefersDark.removeEventListener("change", this.recolour);
    screenReader.removeEventListener("change", this.reread);
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
