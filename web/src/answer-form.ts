// Answers a program's question from the list: a line of input, typed without opening the terminal.

import { button, make, setLabel } from "./dom";

export class AnswerForm {
  readonly form = make("form", "row-answer");
  private readonly input = make("input", "");
  private readonly send: HTMLButtonElement;

  /** `answer` types a line; false: it could not, and the text stays. */
  constructor(private readonly answer: (line: string) => Promise<boolean>) {
    this.input.type = "text";
    this.input.placeholder = "Answer, then Enter";
    this.input.autocomplete = "off";
    this.input.spellcheck = false;
    this.input.autocapitalize = "off";
    this.send = button("Send", "quiet", () => {});
    this.send.type = "submit";
    this.form.dataset["needs"] = "type";
    this.form.append(this.input, this.send);
    this.form.hidden = true;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    // The list has keys of its own.
    this.input.addEventListener("keydown", (event) => event.stopPropagation());
  }

  /** Shows the form where a session asks something. What is typed into it stays while it asks. */
  show(asks: boolean, name: string): void {
    if (!asks && !this.form.hidden) this.input.value = "";
    this.form.hidden = !asks;
    setLabel(this.input, `Answer ${name}; Enter types it`);
  }

  private async submit(): Promise<void> {
    if (this.send.disabled) return;
    this.send.disabled = true;
    const typed = await this.answer(this.input.value);
    this.send.disabled = false;
    if (typed) this.input.value = "";
  }
}
