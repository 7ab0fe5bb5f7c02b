// Shows on the terminal what is predicted: underlined until the program has echoed it.

import type { IDecoration, Terminal } from "@xterm/xterm";
import { setText } from "./dom";
import { type Prediction, Predictor } from "./prediction";

/** Time between two looks at predictions that may be wrong. */
const LOOK_EVERY_MS = 100;

export class LocalEcho {
  private readonly predictor: Predictor;
  private readonly shown = new Map<Prediction["line"], IDecoration>();
  private timer = 0;

  constructor(
    private readonly terminal: Terminal,
    /** The time in ms that a message takes there and back. */
    private readonly roundTrip: () => number | null,
  ) {
    const buffer = () => terminal.buffer.active;
    this.predictor = new Predictor({
      cursor: () => ({ column: buffer().cursorX, line: buffer().baseY + buffer().cursorY }),
      columns: () => terminal.cols,
      at: (line, column) => buffer().getLine(line)?.getCell(column)?.getChars() || " ",
      mark: () => terminal.registerMarker(0),
    });
    // A full-screen program echoes wherever it likes.
    terminal.buffer.onBufferChange(() => this.forget());
    terminal.onResize(() => this.forget());
  }

  typed(text: string): void {
    if (this.terminal.buffer.active.type !== "normal") return;
    this.predictor.typed(text, performance.now(), this.roundTrip());
    this.show();
  }

  /** The terminal has drawn something. */
  readonly settle = (): void => {
    // The usual case, at each piece of output.
    if (!this.predictor.expects && this.shown.size === 0) return;
    this.predictor.settle(performance.now(), this.roundTrip());
    this.show();
  };

  forget(): void {
    this.predictor.forget();
    this.show();
  }

  dispose(): void {
    clearInterval(this.timer);
    this.predictor.forget();
    this.shown.clear();
  }

  private show(): void {
    const wanted = new Map(this.predictor.predictions.map((one) => [one.line, one]));
    for (const [line, decoration] of this.shown) {
      if (wanted.has(line)) continue;
      decoration.dispose();
      this.shown.delete(line);
    }
    for (const [line, prediction] of wanted) {
      if (this.shown.has(line)) continue;
      const decoration = this.decorate(prediction);
      if (decoration !== undefined) this.shown.set(line, decoration);
    }
    if (!this.predictor.expects) {
      clearInterval(this.timer);
      this.timer = 0;
    } else if (this.timer === 0) this.timer = window.setInterval(this.settle, LOOK_EVERY_MS);
  }

  private decorate({ character, column, line }: Prediction): IDecoration | undefined {
    // The predictor's lines are the terminal's markers.
    const marker = line as ReturnType<Terminal["registerMarker"]>;
    const decoration = this.terminal.registerDecoration({ marker, x: column, width: 1, layer: "top" });
    decoration?.onRender((element) => {
      element.classList.add("predicted");
      setText(element, character);
      element.style.color = this.terminal.options.theme?.foreground ?? "";
      element.style.background = this.terminal.options.theme?.background ?? "";
      element.style.fontFamily = this.terminal.options.fontFamily ?? "";
      element.style.fontSize = `${this.terminal.options.fontSize}px`;
    });
    return decoration;
  }
}
