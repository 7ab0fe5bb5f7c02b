// The part of a terminal that is seen where it is larger than its element: it follows the cursor, until
// the user moves it.

import type { Terminal } from "@xterm/xterm";

/** DECTCEM: the cursor is shown. */
const SHOW_CURSOR = 25;

export class ViewFollow {
  private follows = true;
  private isCursorShown = true;
  /** Where the view was put last. Anywhere else, the user has moved it. */
  private put = { left: 0, top: 0 };
  private frameRequest = 0;

  constructor(
    private readonly terminal: Terminal,
    private readonly frame: HTMLElement,
  ) {
    const { parser } = terminal;
    const cursorShown = (shown: boolean) => (params: (number | number[])[]) => {
      if (params.includes(SHOW_CURSOR)) this.isCursorShown = shown;
      return false;
    };
    parser.registerCsiHandler({ prefix: "?", final: "h" }, cursorShown(true));
    parser.registerCsiHandler({ prefix: "?", final: "l" }, cursorShown(false));
    const reset = () => {
      this.isCursorShown = true;
      return false;
    };
    parser.registerEscHandler({ final: "c" }, reset);
    parser.registerCsiHandler({ intermediates: "!", final: "p" }, reset);
    terminal.onWriteParsed(() => this.soon());
    terminal.onResize(() => this.soon());
    // The user who types wants to see the effect.
    terminal.onData(() => {
      this.follows = true;
      this.soon();
    });
    frame.addEventListener("scroll", () => this.moved());
  }

  /** The element has another size. */
  soon(): void {
    if (this.frameRequest !== 0) return;
    this.frameRequest = requestAnimationFrame(() => {
      this.frameRequest = 0;
      if (this.follows && this.isCursorShown) this.reveal();
    });
  }

  /** Moves the view to the cursor, no farther than needed; to where the lines begin, if it is seen there. */
  reveal(): void {
    const { left, top, right, bottom } = this.cursor();
    const { frame } = this;
    const x = right <= frame.clientWidth ? 0 : Math.min(left, Math.max(frame.scrollLeft, right - frame.clientWidth));
    const y = Math.min(top, Math.max(frame.scrollTop, bottom - frame.clientHeight));
    if (x === frame.scrollLeft && y === frame.scrollTop) return;
    frame.scrollTo(x, y);
    this.put = { left: frame.scrollLeft, top: frame.scrollTop };
  }

  dispose(): void {
    cancelAnimationFrame(this.frameRequest);
  }

  /** The view follows again once the user has moved it back to the cursor. */
  private moved(): void {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.frame;
    if (Math.abs(scrollLeft - this.put.left) < 2 && Math.abs(scrollTop - this.put.top) < 2) return;
    this.put = { left: scrollLeft, top: scrollTop };
    const { left, top, right, bottom } = this.cursor();
    this.follows = left >= scrollLeft - 1 && right <= scrollLeft + clientWidth + 1 && top >= scrollTop - 1 && bottom <= scrollTop + clientHeight + 1;
  }

  /** The cell of the cursor, in pixels of what the element scrolls. */
  private cursor(): { left: number; top: number; right: number; bottom: number } {
    const { cols, rows, buffer } = this.terminal;
    const screen = this.frame.querySelector<HTMLElement>(".xterm-screen");
    const width = (screen?.clientWidth ?? 0) / cols;
    const height = (screen?.clientHeight ?? 0) / rows;
    const { cursorX, cursorY } = buffer.active;
    // Some cells beside the cursor belong to what is seen: the end of what was typed.
    return { left: Math.max(0, cursorX - 4) * width, right: Math.min(cols, cursorX + 4) * width, top: cursorY * height, bottom: (cursorY + 1) * height };
  }
}
