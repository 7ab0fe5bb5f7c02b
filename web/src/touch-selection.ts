// The selection that a finger has made: its two handles, and the buttons to copy it and to paste.

import type { Terminal } from "@xterm/xterm";
import { writeClipboard } from "./clipboard";
import { button, make, setLabel } from "./dom";
import { dragged, extended, type Range, wordAt } from "./text-range";

export interface TouchSelectionCallbacks {
  /** Null: this terminal takes no input. */
  paste: (() => void) | null;
  trouble(text: string): void;
}

export class TouchSelection {
  private readonly handles = { start: make("div", "touch-handle"), end: make("div", "touch-handle end") };
  private readonly tools = make("div", "touch-tools");
  private readonly copy: HTMLButtonElement;
  private range: Range | null = null;
  /** The word with which the selection began. */
  private first: Range | null = null;
  private isOffered = false;
  /** The place of the finger, for the buttons where nothing is selected. */
  private finger = { x: 0, y: 0 };

  /** `frame` is the element of the terminal; the buttons lie in the one around it. */
  constructor(
    private readonly terminal: Terminal,
    private readonly frame: HTMLElement,
    private readonly callbacks: TouchSelectionCallbacks,
  ) {
    this.copy = button("Copy", "", () => this.copySelected());
    const paste = button("Paste", "", () => {
      this.clear();
      this.callbacks.paste?.();
    });
    // Only secure contexts let a page read the clipboard.
    paste.hidden = callbacks.paste === null || !navigator.clipboard;
    this.tools.append(this.copy, paste);
    this.tools.setAttribute("role", "toolbar");
    setLabel(this.tools, "Selection");
    // The keyboard stays as it is, shown or hidden.
    this.tools.addEventListener("pointerdown", (event) => event.preventDefault());
    this.tools.addEventListener("mousedown", (event) => event.preventDefault());
    for (const which of ["start", "end"] as const) this.connectHandle(which);
    terminal.onRender(() => this.place());
    terminal.onSelectionChange(() => this.range !== null && !terminal.hasSelection() && this.clear());
    terminal.onData(() => this.clear());
    this.frame.addEventListener("scroll", () => this.place());
    this.show();
  }

  /** Selects the word at this place of the window. */
  begin(x: number, y: number): void {
    this.clear();
    this.finger = { x, y };
    const place = this.cellAt(x, y);
    const { cols } = this.terminal;
    const row = Math.floor(place / cols);
    const line = this.terminal.buffer.active.getLine(row);
    const cells = Array.from({ length: cols }, (_, column) => {
      const cell = line?.getCell(column);
      return cell === undefined ? " " : cell.getWidth() === 0 ? "" : cell.getChars() || " ";
    });
    const word = wordAt(cells, place % cols);
    this.first = word === null ? { start: place, end: place } : { start: row * cols + word.start, end: row * cols + word.end };
    if (word !== null) this.select(this.first);
    this.frame.classList.add("pressed");
    navigator.vibrate?.(10);
  }

  /** The finger that began the selection moves: from its word to here. */
  extend(x: number, y: number): void {
    this.finger = { x, y };
    if (this.first === null) return;
    this.scrollAtEdge(y);
    this.select(extended(this.first, this.cellAt(x, y)));
  }

  /** The finger has left: shows the handles and the buttons. */
  offer(): void {
    this.frame.classList.remove("pressed");
    if (this.first === null) return;
    this.isOffered = true;
    this.show();
  }

  clear(): void {
    this.frame.classList.remove("pressed");
    if (this.first === null) return;
    this.first = null;
    this.isOffered = false;
    const had = this.range !== null;
    this.range = null;
    if (had) this.terminal.clearSelection();
    this.show();
  }

  dispose(): void {
    this.isOffered = false;
    this.show();
  }

  private select(range: Range): void {
    this.range = range;
    const { cols } = this.terminal;
    this.terminal.select(range.start % cols, Math.floor(range.start / cols), range.end - range.start);
    this.place();
  }

  private copySelected(): void {
    const text = this.terminal.getSelection();
    writeClipboard(text).then(
      () => this.clear(),
      () => this.callbacks.trouble("The browser did not let the page write to the clipboard."),
    );
  }

  private connectHandle(which: "start" | "end"): void {
    const handle = this.handles[which];
    handle.setAttribute("role", "img");
    setLabel(handle, which === "start" ? "Beginning of the selection" : "End of the selection");
    const stop = (event: TouchEvent) => {
      event.preventDefault();
      event.stopPropagation();
    };
    handle.addEventListener("touchstart", stop, { passive: false });
    handle.addEventListener(
      "touchmove",
      (event) => {
        stop(event);
        const [touch] = event.changedTouches;
        if (touch === undefined || this.range === null) return;
        this.scrollAtEdge(touch.clientY);
        // The finger is below the text that it drags to, as the handle is.
        this.select(dragged(this.range, which, this.cellAt(touch.clientX, touch.clientY - handle.offsetHeight / 2)));
      },
      { passive: false },
    );
    handle.addEventListener("touchend", stop, { passive: false });
  }

  /** Scrolls by a line if the finger is above or below the terminal. */
  private scrollAtEdge(y: number): void {
    const { top, bottom } = this.frame.getBoundingClientRect();
    if (y < top + 4) this.terminal.scrollLines(-1);
    else if (y > bottom - 4) this.terminal.scrollLines(1);
  }

  /** The cell at a place of the window, or the one closest to it. */
  private cellAt(x: number, y: number): number {
    const { rect, width, height } = this.cells();
    const { cols, rows, buffer } = this.terminal;
    const column = Math.min(cols - 1, Math.max(0, Math.floor((x - rect.left) / width)));
    const row = Math.min(rows - 1, Math.max(0, Math.floor((y - rect.top) / height)));
    return (buffer.active.viewportY + row) * cols + column;
  }

  /** Where the terminal's cells are on the window, and their size. */
  private cells(): { rect: DOMRect; width: number; height: number } {
    const rect = (this.frame.querySelector(".xterm-screen") ?? this.frame).getBoundingClientRect();
    return { rect, width: rect.width / this.terminal.cols, height: rect.height / this.terminal.rows };
  }

  private show(): void {
    const all = [this.handles.start, this.handles.end, this.tools];
    if (!this.isOffered) return all.forEach((element) => element.remove());
    this.copy.hidden = this.range === null;
    this.frame.parentElement?.append(...all);
    this.place();
  }

  /** Puts the handles to both ends of the selection and the buttons above it. */
  private place(): void {
    const around = this.frame.parentElement?.getBoundingClientRect();
    if (!this.isOffered || around === undefined) return;
    const { rect, width, height } = this.cells();
    const { cols, rows, buffer } = this.terminal;
    const visible = this.frame.getBoundingClientRect();
    const corner = (cell: number, side: 0 | 1) => ({
      x: rect.left + ((cell % cols) + side) * width,
      y: rect.top + (Math.floor(cell / cols) - buffer.active.viewportY + 1) * height,
    });
    const ends = this.range === null ? null : { start: corner(this.range.start, 0), end: corner(this.range.end - 1, 1) };
    for (const which of ["start", "end"] as const) {
      const handle = this.handles[which];
      const at = ends?.[which];
      handle.hidden = at === undefined || at.y <= visible.top || at.y > rect.top + rows * height + 1 || at.y > visible.bottom + height;
      if (at === undefined) continue;
      handle.style.left = `${at.x - around.left}px`;
      handle.style.top = `${at.y - around.top}px`;
    }
    const { offsetWidth, offsetHeight } = this.tools;
    const from = ends?.start ?? { x: this.finger.x, y: this.finger.y };
    const to = ends?.end ?? from;
    const above = from.y - height - offsetHeight - 10 - around.top;
    const below = Math.min(to.y + 44 - around.top, around.height - offsetHeight - 6);
    const middle = (ends === null || from.y !== to.y ? from.x : (from.x + to.x) / 2) - around.left;
    this.tools.style.left = `${Math.max(6, Math.min(middle - offsetWidth / 2, around.width - offsetWidth - 6))}px`;
    this.tools.style.top = `${above >= 6 ? above : Math.max(6, below)}px`;
  }
}
