// Moves what the terminal shows by pixels: first the part of a terminal that is larger than its
// element, then its scrollback, or what the program makes of a wheel.

import type { Terminal } from "@xterm/xterm";

export class TerminalScroll {
  /** Pixels that are not a whole line yet. */
  private rest = 0;

  constructor(
    private readonly terminal: Terminal,
    private readonly frame: HTMLElement,
  ) {}

  /** Moves the content by so many pixels. False: it cannot be moved any further. */
  drag(dx: number, dy: number, at: { x: number; y: number }): boolean {
    const { scrollLeft, scrollTop } = this.frame;
    this.frame.scrollBy(-dx, -dy);
    const moved = scrollTop - this.frame.scrollTop;
    const panned = moved !== 0 || scrollLeft !== this.frame.scrollLeft;
    this.rest += dy - moved;
    const height = (this.frame.querySelector(".xterm-screen")?.clientHeight ?? 0) / this.terminal.rows;
    if (height <= 0) return panned;
    // The content goes down when older lines come in.
    const lines = -Math.trunc(this.rest / height);
    this.rest += lines * height;
    return lines === 0 || this.scroll(lines, at) || panned;
  }

  private scroll(lines: number, at: { x: number; y: number }): boolean {
    const { buffer, modes } = this.terminal;
    if (buffer.active.type === "normal" && ["none", "x10"].includes(modes.mouseTrackingMode)) {
      const { viewportY } = buffer.active;
      this.terminal.scrollLines(lines);
      return buffer.active.viewportY !== viewportY;
    }
    // There is no scrollback to move in, or the program wants to know: xterm.js makes a report or an
    // arrow key of each step of a wheel.
    const screen = this.frame.querySelector(".xterm-screen");
    const { DOM_DELTA_LINE } = WheelEvent;
    for (let step = 0; step < Math.abs(lines); step += 1) {
      const deltaY = Math.sign(lines);
      screen?.dispatchEvent(new WheelEvent("wheel", { deltaY, deltaMode: DOM_DELTA_LINE, clientX: at.x, clientY: at.y, bubbles: true, cancelable: true }));
    }
    return true;
  }
}
