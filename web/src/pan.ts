// The mouse moves the view of a terminal that is larger than its element: with the middle button, and
// where one only looks on with the left one, too. With Shift the left one selects, as ever.

export class Pan {
  private from: { x: number; y: number } | null = null;

  constructor(
    private readonly frame: HTMLElement,
    private readonly looksOn: () => boolean,
  ) {
    // Before xterm.js, which would select or report the button to the program.
    frame.addEventListener("mousedown", (event) => this.down(event), { capture: true });
    frame.addEventListener("auxclick", (event) => this.isLarger && event.button === 1 && event.preventDefault(), { capture: true });
  }

  private get isLarger(): boolean {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = this.frame;
    return scrollWidth > clientWidth || scrollHeight > clientHeight;
  }

  private down(event: MouseEvent): void {
    const moves = event.button === 1 || (event.button === 0 && this.looksOn() && !event.shiftKey);
    // The edges are the scrollbars of the element.
    if (!moves || !this.isLarger || !(event.target as Element).closest(".xterm")) return;
    event.preventDefault();
    event.stopPropagation();
    this.from = { x: event.clientX, y: event.clientY };
    this.frame.classList.add("panning");
    addEventListener("mousemove", this.move);
    addEventListener("mouseup", this.up, { once: true });
  }

  private readonly move = (event: MouseEvent): void => {
    if (this.from === null) return;
    this.frame.scrollBy(this.from.x - event.clientX, this.from.y - event.clientY);
    this.from = { x: event.clientX, y: event.clientY };
  };

  private readonly up = (): void => {
    this.from = null;
    this.frame.classList.remove("panning");
    removeEventListener("mousemove", this.move);
  };
}
