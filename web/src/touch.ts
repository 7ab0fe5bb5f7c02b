// Fingers on the terminal: one that moves scrolls, one that rests selects a word.

import { Momentum } from "./momentum";
import type { TouchSelection } from "./touch-selection";

/** A finger that rests this long selects. */
const LONG_PRESS_MS = 450;
/** A finger that moves by less than this, in pixels, rests. */
const SLACK = 8;

/** The terminal under the fingers. */
export interface Touched {
  readonly selection: TouchSelection;
  /** Moves the terminal's content by so many pixels. False: it is at its end. */
  drag(dx: number, dy: number, at: { x: number; y: number }): boolean;
}

export class TouchGestures {
  private readonly momentum = new Momentum();
  private start: { x: number; y: number; id: number } | null = null;
  private last = { x: 0, y: 0 };
  private doing: "rest" | "scroll" | "select" = "rest";
  private timer = 0;
  private frame = 0;

  constructor(
    element: HTMLElement,
    private readonly touched: Touched,
  ) {
    // xterm.js must not see a press that selects, so these listeners may cancel it.
    element.addEventListener("touchstart", (event) => this.down(event), { passive: true });
    element.addEventListener("touchmove", (event) => this.move(event), { passive: false });
    element.addEventListener("touchend", (event) => this.up(event), { passive: false });
    element.addEventListener("touchcancel", () => this.cancel());
    // Phones open their own menu after a long press, and xterm.js would open the keyboard for it.
    element.addEventListener("contextmenu", (event) => this.menu(event), { capture: true });
  }

  dispose(): void {
    this.cancel();
  }

  private down(event: TouchEvent): void {
    this.cancel();
    const [touch] = event.touches;
    if (touch === undefined || event.touches.length > 1) return;
    this.start = { x: touch.clientX, y: touch.clientY, id: touch.identifier };
    this.last = this.start;
    this.timer = window.setTimeout(() => {
      this.doing = "select";
      this.touched.selection.begin(this.last.x, this.last.y);
    }, LONG_PRESS_MS);
  }

  private move(event: TouchEvent): void {
    const touch = [...event.changedTouches].find(({ identifier }) => identifier === this.start?.id);
    if (touch === undefined || this.start === null) return;
    const { clientX: x, clientY: y } = touch;
    if (this.doing === "rest") {
      if (Math.hypot(x - this.start.x, y - this.start.y) < SLACK) return;
      clearTimeout(this.timer);
      this.doing = "scroll";
    }
    event.preventDefault();
    if (this.doing === "select") return this.touched.selection.extend(x, y);
    this.momentum.moved(y - this.last.y, event.timeStamp);
    this.touched.drag(x - this.last.x, y - this.last.y, { x, y });
    this.last = { x, y };
  }

  private up(event: TouchEvent): void {
    const { doing } = this;
    this.end();
    if (doing === "rest") return this.touched.selection.clear();
    // No click follows, which would take the selection away or open the keyboard.
    event.preventDefault();
    if (doing === "select") this.touched.selection.offer();
    else if (this.momentum.release(event.timeStamp)) this.coast(event.timeStamp);
  }

  /** Goes on scrolling without the finger. */
  private coast(since: number): void {
    this.frame = requestAnimationFrame((now) => {
      const by = this.momentum.step(Math.max(0, now - since));
      if (by !== 0 && this.touched.drag(0, by, this.last)) this.coast(now);
    });
  }

  private menu(event: MouseEvent): void {
    if (this.start === null) return;
    event.preventDefault();
    event.stopPropagation();
  }

  private cancel(): void {
    if (this.doing === "select") this.touched.selection.offer();
    this.end();
    cancelAnimationFrame(this.frame);
    this.momentum.stop();
  }

  private end(): void {
    clearTimeout(this.timer);
    this.start = null;
    this.doing = "rest";
  }
}
