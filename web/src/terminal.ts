// The terminal on the page: xterm.js in an element, which draws output and returns input.

import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { Terminal } from "@xterm/xterm";
import { ring } from "./bell";
import { copySelection, onCopyRequest, writeClipboard } from "./clipboard";
import { CommandMarks } from "./command-marks";
import { setLabel } from "./dom";
import { type BarKey, type HeldModifiers, sequence } from "./key-sequences";
import { drawImages } from "./images";
import { findLinks, linkHandler } from "./links";
import { LocalEcho } from "./local-echo";
import type { Bytes } from "./messages";
import { Pan } from "./pan";
import { accelerate } from "./renderer";
import { screenReader } from "./screen-reader";
import { settings } from "./settings";
import { muteQueries } from "./terminal-queries";
import { isDark, onSchemeChange, theme } from "./theme";
import { TerminalFit } from "./terminal-fit";
import { TerminalScroll } from "./terminal-scroll";
import { TouchGestures } from "./touch";
import { TouchSelection } from "./touch-selection";
import { WholeCharacters } from "./utf8";
import { ViewFollow } from "./view-follow";

/** What the terminal tells its user. */
export interface TerminalCallbacks {
  typed(text: string): void;
  /** Mouse reports in the X10 encoding, which are bytes and not characters. */
  bytes(bytes: Bytes): void;
  /** The element has room for this size now. */
  room(cols: number, rows: number): void;
  titleChanged(title: string): void;
  /** False: the page handles this key, and the program does not get it. */
  key(event: KeyboardEvent): boolean;
  /** The program wants to copy this text to the clipboard. */
  copyRequested(text: string): void;
  /** The target of the link under the pointer; null: there is none. */
  linkHovered(target: string | null): void;
  /** The user asks for what is in the clipboard; null: the terminal takes no input. */
  paste: (() => void) | null;
  /** Something that the user asked for did not work. */
  trouble(text: string): void;
  /** The search selected this match of so many; -1: its number is unknown. */
  searchResults(index: number, count: number): void;
  /** The time in ms that a keystroke takes to the program's machine and back; null if it is unknown. */
  roundTrip(): number | null;
}

/** Windows this narrow get a smaller font, so that enough columns fit. */
const NARROW = "(max-width: 46rem)";
/** Lines of scrollback, until the server has said how many it keeps: its own default. */
const SCROLLBACK = 1000;
/** Resets the terminal in whatever state its parser is: CAN, ST, RIS. */
const FULL_RESET = "\x18\x1b\\\x1bc";

export class TerminalView {
  private readonly terminal: Terminal;
  private readonly fit: TerminalFit;
  private readonly follow: ViewFollow;
  private readonly observer: ResizeObserver;
  private readonly applySettings = () => this.apply();
  private readonly forgetScheme = onSchemeChange(() => this.applyTheme());
  private readonly updateScreenReaderMode = () => (this.terminal.options.screenReaderMode = screenReader.isOn);
  private readonly touch: TouchGestures;
  private readonly touchSelection: TouchSelection;
  private readonly characters = new WholeCharacters();
  private readonly echo: LocalEcho;
  readonly commands: CommandMarks;
  readonly search = new SearchAddon();
  /** What is drawn is a replay: its requests were handled when it was first drawn. */
  private isReplay = false;
  private disposed = false;
  private locked = false;
  /** The user only looks on at a session of others. */
  private looksOn = false;
  /** Lines of scrollback that the server keeps. */
  private serverLines = SCROLLBACK;

  constructor(
    private readonly frame: HTMLElement,
    private readonly callbacks: TerminalCallbacks,
  ) {
    this.terminal = new Terminal({
      // Needed to choose the Unicode version.
      allowProposedApi: true,
      lineHeight: 1.15,
      linkHandler: linkHandler((target) => callbacks.linkHovered(target)),
      macOptionIsMeta: true,
      // The search marks its matches here, beside the slider of the scrollbar.
      overviewRuler: { width: 10 },
      screenReaderMode: screenReader.isOn,
      // Programs save the title and restore it when they end.
      windowOptions: { pushTitle: true, popTitle: true },
    });
    // Emoji are two columns wide, as programs and the server's screen count them.
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    this.fit = new TerminalFit(this.terminal, frame);
    this.applyOptions();
    settings.addEventListener("change", this.applySettings);
    screenReader.addEventListener("change", this.updateScreenReaderMode);
    this.terminal.loadAddon(this.search);
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => callbacks.searchResults(resultIndex, resultCount));
    this.echo = new LocalEcho(this.terminal, () => callbacks.roundTrip());
    this.commands = new CommandMarks(this.terminal);
    muteQueries(this.terminal);
    onCopyRequest(this.terminal, (text) => !this.isReplay && callbacks.copyRequested(text));
    findLinks(this.terminal, (target) => callbacks.linkHovered(target));
    this.terminal.attachCustomKeyEventHandler((event) => !this.jumps(event) && callbacks.key(event));
    this.terminal.onData((text) => callbacks.typed(enclosed(text)));
    this.terminal.onBinary((text) => callbacks.bytes(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.terminal.onBell(() => !this.isReplay && ring(frame));
    this.terminal.onSelectionChange(() => this.copySelected());
    this.terminal.onTitleChange((title) => callbacks.titleChanged(title));
    this.terminal.open(frame);
    const paste = callbacks.paste === null ? null : () => callbacks.paste?.();
    this.touchSelection = new TouchSelection(this.terminal, frame, { paste, trouble: (text) => callbacks.trouble(text) });
    const scroll = new TerminalScroll(this.terminal, frame);
    this.touch = new TouchGestures(frame, { selection: this.touchSelection, drag: (dx, dy, at) => scroll.drag(dx, dy, at) });
    this.follow = new ViewFollow(this.terminal, frame);
    new Pan(frame, () => this.looksOn);
    if (this.terminal.textarea) setLabel(this.terminal.textarea, "Terminal input");
    this.fit.measure();
    this.resize(this.room.cols, this.room.rows);
    this.observer = new ResizeObserver(this.refit);
    void accelerate(this.terminal, () => !this.disposed, this.refit);
    void drawImages(this.terminal, () => !this.disposed);
    this.observer.observe(frame);
  }

  /** The size for which the element has room. */
  get room(): { cols: number; rows: number } {
    return this.fit.room;
  }

  /** A terminal of another size is made to fit. */
  get isZoomed(): boolean {
    return this.fit.isZoomed;
  }

  setZoomed(zoomed: boolean): void {
    this.fit.setZoomed(zoomed);
    this.follow.soon();
  }

  /** Draws bytes, new ones or a replay; calls `done` once they are parsed. */
  draw(bytes: Bytes, replay: boolean, done: () => void): void {
    this.terminal.write("", () => (this.isReplay = replay));
    this.terminal.write(this.characters.take(bytes), () => {
      this.echo.settle();
      done();
    });
  }

  /** Something was typed, and sent to the program. */
  expectEcho(text: string): void {
    this.echo.typed(text);
  }

  /** Clears the terminal completely, after everything written before. */
  reset(): void {
    this.characters.reset();
    this.echo.forget();
    this.terminal.write(FULL_RESET);
  }

  /** Resizes the terminal to the session's size, after everything written before. */
  resize(cols: number, rows: number): void {
    this.terminal.write("", () => this.terminal.resize(cols, rows));
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Scrolls a terminal that is larger than its element to the cursor. */
  reveal(): void {
    this.terminal.write("", () => this.follow.reveal());
  }

  /** Takes no input any more. The text can still be read, searched and copied. */
  private lock(): void {
    this.locked = true;
    this.terminal.options.disableStdin = true;
    this.applyOptions();
  }

  /** The server keeps this many lines of scrollback. More of them here would be gone after a reload. */
  boundScrollback(lines: number): void {
    this.serverLines = lines;
    this.applyOptions();
  }

  /** The user only looks on: takes no input, and the mouse moves the view of a larger terminal. */
  lookOn(): void {
    this.looksOn = true;
    this.lock();
  }

  /** The session has ended: takes no input and hides the cursor. */
  freeze(): void {
    this.looksOn = false;
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

  /** Types a key of the key bar. */
  press(key: BarKey, held: HeldModifiers): void {
    this.terminal.input(sequence(key, held, this.terminal.modes.applicationCursorKeysMode));
  }

  paste(text: string): void {
    this.terminal.paste(text);
  }

  dispose(): void {
    this.disposed = true;
    this.echo.dispose();
    this.observer.disconnect();
    this.follow.dispose();
    this.touch.dispose();
    this.touchSelection.dispose();
    this.forgetScheme();
    settings.removeEventListener("change", this.applySettings);
    screenReader.removeEventListener("change", this.updateScreenReaderMode);
    this.terminal.dispose();
  }

  /** Ctrl+Up and Ctrl+Down go from command to command, where the shell marks them. */
  private jumps({ ctrlKey, altKey, shiftKey, metaKey, code, type }: KeyboardEvent): boolean {
    if (!ctrlKey || altKey || shiftKey || metaKey || (code !== "ArrowUp" && code !== "ArrowDown")) return false;
    // The key's other events belong to the page as well.
    return type === "keydown" ? this.commands.jump(code === "ArrowUp" ? -1 : 1) : true;
  }

  private readonly refit = (): void => {
    if (this.disposed) return;
    this.follow.soon();
    if (this.fit.measure()) this.callbacks.room(this.room.cols, this.room.rows);
  };

  /** Takes over changed settings. */
  private apply(): void {
    this.applyOptions();
    this.refit();
  }

  private applyOptions(): void {
    const { font, fontSize, cursor, cursorBlinks, scrollback } = settings.current;
    const own = getComputedStyle(this.frame).getPropertyValue("--mono");
    const chosen = font.split(",").map((name) => name.trim()).filter((name) => name !== "");
    const { options } = this.terminal;
    options.fontFamily = [...chosen.map((name) => `"${name}"`), own].join(", ");
    this.fit.setFontSize(fontSize ?? (matchMedia(NARROW).matches ? 12 : 14));
    options.cursorStyle = cursor;
    options.cursorBlink = cursorBlinks && !this.locked;
    options.scrollback = Math.min(scrollback ?? Infinity, this.serverLines);
    this.applyTheme();
  }

  private applyTheme(): void {
    const colours = theme();
    this.terminal.options.theme = colours;
    this.frame.style.setProperty("--terminal-text", colours.foreground ?? null);
    this.frame.parentElement?.style.setProperty("--terminal", colours.background ?? null);
    // Programs choose colours without knowing the theme. Most choose for a dark screen: on a light one, more of
    // them would be hard to read, and on a dark one the theme's own are changed only where they hardly show.
    this.terminal.options.minimumContrastRatio = settings.current.contrast ?? (isDark() ? 3 : 4.5);
  }

  /** Copies what the user has just selected, if they want that. What the search selects stays here. */
  private copySelected(): void {
    const text = this.terminal.getSelection();
    if (!settings.current.copyOnSelect || text === "" || !this.frame.contains(document.activeElement)) return;
    writeClipboard(text).catch(() => this.callbacks.trouble("The browser did not let the page write to the clipboard."));
  }
}

/** A bracketed paste whose text cannot leave the brackets: what follows would count as typed. */
function enclosed(text: string): string {
  const [begin, end] = ["\x1b[200~", "\x1b[201~"];
  if (!text.startsWith(begin) || !text.endsWith(end)) return text;
  return begin + text.slice(begin.length, -end.length).replaceAll(end, "") + end;
}
