// The clipboard. Programs may ask to write it (OSC 52), and the user decides. No program can read it.

import type { Terminal } from "@xterm/xterm";
import { byId, setText } from "./dom";
import { visibleStart } from "./visible";

/** The longest text that a program may copy, in characters. */
const TEXT_MAX = 1 << 20;
/** The question shows this many characters of the text. */
const SHOWN = 120;
/** A question that follows another takes no agreement for this time. */
const NEXT_PAUSE_MS = 700;

/** The text of an OSC 52 sequence; null for a query, and for what is not base64. */
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

/** Calls `wanted` when a program asks to copy. The program gets no answer, even to a query. */
export function onCopyRequest(terminal: Terminal, wanted: (text: string) => void): void {
  terminal.parser.registerOscHandler(52, (data) => {
    const text = decodeCopyRequest(data);
    if (text !== null) wanted(text);
    return true;
  });
}

/** Copies the terminal's selection: xterm.js fills the clipboard on the browser's copy event. */
export function copySelection(terminal: Terminal): void {
  if (terminal.hasSelection()) document.execCommand("copy");
}

/** A request that waits for the user's answer. */
interface Request {
  session: string;
  /** Who asks, in words. */
  who: string;
  text: string;
}

/** The question above the terminal: may the program copy this? */
export class CopyQuestion {
  private readonly element = byId("copy-question");
  private readonly title = byId("copy-question-title");
  private readonly text = byId("copy-question-text");
  private readonly once = byId<HTMLButtonElement>("copy-question-once");
  private readonly always = byId<HTMLButtonElement>("copy-question-always");
  private readonly allowed = new Set<string>();
  private asked: Request | null = null;
  /** Came while another was shown. */
  private waiting: Request | null = null;
  private pauseTimer = 0;

  constructor(private readonly done: (problem: string | null) => void) {
    this.once.addEventListener("click", () => this.answer(true));
    this.always.addEventListener("click", () => {
      if (this.asked !== null) this.allowed.add(this.asked.session);
      this.answer(true);
    });
    byId("copy-question-no").addEventListener("click", () => this.answer(false));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.answer(false);
    });
  }

  /** A session's program wants to copy. What is asked does not change while it is shown: another
      request waits for the answer, and only the latest of those. */
  ask(session: string, who: string, text: string): void {
    const request = { session, who, text };
    if (this.asked !== null) this.waiting = request;
    else if (this.allowed.has(session)) {
      // Some browsers write the clipboard only right after a click: then the question is shown after all.
      writeClipboard(text).catch(() => (this.asked === null ? this.show(request, 0) : (this.waiting = request)));
    } else this.show(request, 0);
  }

  /** Moves the keyboard focus to the question, if it is shown. */
  focus(): void {
    if (!this.element.hidden) this.once.focus();
  }

  /** Withdraws what a session asks, since it is left. */
  withdraw(session: string): void {
    if (this.waiting?.session === session) this.waiting = null;
    if (this.asked?.session !== session) return;
    const { waiting } = this;
    this.clear();
    if (waiting !== null) this.show(waiting, NEXT_PAUSE_MS);
  }

  private clear(): void {
    this.asked = null;
    this.waiting = null;
    this.element.hidden = true;
  }

  private show(request: Request, pauseMs: number): void {
    this.asked = request;
    setText(this.title, `${request.who} wants to copy to the clipboard`);
    setText(this.text, visibleStart(request.text, SHOWN));
    this.element.hidden = false;
    clearTimeout(this.pauseTimer);
    for (const one of [this.once, this.always]) one.disabled = pauseMs > 0;
    this.pauseTimer = window.setTimeout(() => {
      for (const one of [this.once, this.always]) one.disabled = false;
    }, pauseMs);
  }

  private answer(agreed: boolean): void {
    const { asked, waiting } = this;
    this.clear();
    if (asked === null) return;
    const next = () => {
      if (waiting === null) return;
      if (this.allowed.has(waiting.session)) this.ask(waiting.session, waiting.who, waiting.text);
      // The second click of a double click is no answer to the next question.
      else if (this.asked === null) this.show(waiting, NEXT_PAUSE_MS);
    };
    if (!agreed) {
      next();
      return this.done(null);
    }
    writeClipboard(asked.text)
      .then(
        () => this.done(null),
        () => this.done("The browser did not let the page write to the clipboard."),
      )
      .finally(next);
  }
}

/** Writes text to the clipboard; in some browsers only right after a click. */
export async function writeClipboard(text: string): Promise<void> {
  // Only secure contexts have this API. Elsewhere `execCommand` works, right after a click.
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
