// The clipboard: programs may ask to write it (OSC 52), and somebody must agree. None reads it.

import type { Terminal } from "@xterm/xterm";
import { byId, setText } from "./dom";

/** The longest text that a program may copy, in characters. */
const TEXT_MAX = 1 << 20;
/** As much of it is shown in the question. */
const SHOWN = 120;

/** The text of an OSC 52, or null if it is none: a question, or not base64. */
export function decodeCopyRequest(data: string): string | null {
  const encoded = data.slice(data.indexOf(";") + 1);
  if (encoded === "" || encoded === "?" || encoded.length > TEXT_MAX * 4) return null;
  try {
    const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    const text = new TextDecoder().decode(bytes);
    return text === "" || text.length > TEXT_MAX ? null : text;
  } catch {
    return null;
  }
}

/** Hears programs that want to copy; whatever they ask, they get no answer. */
export function onCopyRequest(terminal: Terminal, wanted: (text: string) => void): void {
  terminal.parser.registerOscHandler(52, (data) => {
    const text = decodeCopyRequest(data);
    if (text !== null) wanted(text);
    return true;
  });
}

/** Copies the terminal's selection; xterm.js fills the clipboard when the browser asks it to. */
export function copySelection(terminal: Terminal): void {
  if (terminal.hasSelection()) document.execCommand("copy");
}

/** The question over the terminal. */
export class CopyQuestion {
  private readonly element = byId("copy-question");
  private readonly text = byId("copy-question-text");
  private readonly once = byId<HTMLButtonElement>("copy-question-once");
  private readonly allowed = new Set<string>();
  private asked: { session: string; text: string } | null = null;

  constructor(private readonly done: (problem: string | null) => void) {
    this.once.addEventListener("click", () => this.answer(true));
    byId("copy-question-always").addEventListener("click", () => {
      if (this.asked !== null) this.allowed.add(this.asked.session);
      this.answer(true);
    });
    byId("copy-question-no").addEventListener("click", () => this.answer(false));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.answer(false);
    });
  }

  /** A session's program wants to copy; a later wish replaces an earlier one. */
  ask(session: string, text: string): void {
    this.asked = { session, text };
    if (this.allowed.has(session)) {
      // Some browsers write only right after a click: then there is a question after all.
      write(text).then(() => (this.asked = null), () => this.show(text));
    } else {
      this.show(text);
    }
  }

  /** Puts the keyboard into the question, if there is one. */
  focus(): void {
    if (!this.element.hidden) this.once.focus();
  }

  /** Another session is looked at. */
  clear(): void {
    this.asked = null;
    this.element.hidden = true;
  }

  private show(text: string): void {
    const line = text.replace(/\s+/g, " ").trim();
    setText(this.text, line.length > SHOWN ? `${line.slice(0, SHOWN)}… (${text.length} characters)` : line);
    this.element.hidden = false;
  }

  private answer(agreed: boolean): void {
    const text = this.asked?.text;
    this.clear();
    if (!agreed || text === undefined) return this.done(null);
    write(text).then(
      () => this.done(null),
      () => this.done("The browser did not let the page write to the clipboard."),
    );
  }
}

async function write(text: string): Promise<void> {
  // Only secure contexts have it; elsewhere there is the old way, right after a click.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const put = (event: ClipboardEvent) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData?.setData("text/plain", text);
  };
  document.addEventListener("copy", put, { capture: true, once: true });
  const worked = document.execCommand("copy");
  document.removeEventListener("copy", put, { capture: true });
  if (!worked) throw new Error("not copied");
}
