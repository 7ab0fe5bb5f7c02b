// The lines of the terminal at which a shell's commands begin and end, as its marks tell (OSC 133): to
// jump between them, and to copy what the last one printed. Only what was drawn since the page was opened
// has marks: what the server redraws has none.

import type { IMarker, Terminal } from "@xterm/xterm";

interface Command {
  /** The line of the prompt. */
  prompt: IMarker;
  /** The line at which its output begins; null until it runs. */
  output: IMarker | null;
  /** The line after its output; null while it runs. */
  end: IMarker | null;
}

/** More commands than anybody jumps back to. */
const COMMANDS_MAX = 1000;

export class CommandMarks {
  private commands: Command[] = [];

  constructor(private readonly terminal: Terminal) {
    // False: others may look at the mark, too.
    terminal.parser.registerOscHandler(133, (data) => {
      this.mark(data.split(";")[0] ?? "");
      return false;
    });
  }

  /** Scrolls to the prompt above or below what is shown; false: there are no marks to go by. */
  jump(by: 1 | -1): boolean {
    const { active } = this.terminal.buffer;
    const lines = this.commands.map(({ prompt }) => prompt.line).filter((line) => line >= 0);
    if (active.type !== "normal" || lines.length === 0) return false;
    const top = active.viewportY;
    const target = by < 0 ? lines.filter((line) => line < top).at(-1) : lines.find((line) => line > top);
    if (target !== undefined) this.terminal.scrollToLine(target);
    else if (by > 0) this.terminal.scrollToBottom();
    return true;
  }

  /** What the last command that has ended has printed; null if no mark tells. */
  lastOutput(): string | null {
    const command = this.commands.filter(({ output, end }) => end !== null && output !== null && output.line >= 0).at(-1);
    if (command === undefined) return null;
    const from = command.output?.line ?? 0;
    const to = command.end?.line ?? from;
    let text = "";
    for (let at = from; at < to; at++) {
      const line = this.terminal.buffer.normal.getLine(at);
      const next = this.terminal.buffer.normal.getLine(at + 1);
      const isWrapped = next?.isWrapped ?? false;
      text += (line?.translateToString(!isWrapped) ?? "") + (isWrapped ? "" : "\n");
    }
    return text;
  }

  private mark(kind: string): void {
    if (this.terminal.buffer.active.type !== "normal") return;
    const last = this.commands.at(-1);
    if (kind === "A") {
      // A shell that draws its prompt again marks it again.
      if (last !== undefined && last.output === null) {
        last.prompt.dispose();
        this.commands.pop();
      }
      this.commands.push({ prompt: this.terminal.registerMarker(0), output: null, end: null });
      this.commands = this.commands.filter(({ prompt }) => prompt.line >= 0).slice(-COMMANDS_MAX);
    } else if (kind === "C") {
      const output = this.terminal.registerMarker(0);
      if (last !== undefined && last.output === null) last.output = output;
      // Its prompt was drawn before the page came; most take one line.
      else this.commands.push({ prompt: this.terminal.registerMarker(-1), output, end: null });
    } else if (kind === "D" && last !== undefined && last.output !== null && last.end === null) {
      last.end = this.terminal.registerMarker(0);
    }
  }
}
