// The command palette: a few letters and Enter open a session or run a command.

import { byId, make, setText } from "./dom";
import { type Entry, ranked } from "./ranking";

/** A session to open or a command to run. */
export interface Choice extends Entry {
  /** Small text beside the name. */
  hint: string;
  /** A session's status, or `command`. */
  status: string;
  act: () => void;
}

/** Nobody reads through more entries than this. */
const SHOWN = 50;

export class Palette {
  private readonly dialog = byId<HTMLDialogElement>("palette");
  private readonly text = byId<HTMLInputElement>("palette-text");
  private readonly list = byId("palette-list");
  private readonly none = byId("palette-none");
  private choices: Choice[] = [];
  private shown: Choice[] = [];
  private at = 0;

  constructor(private readonly closed: () => void) {
    this.text.addEventListener("input", () => this.show());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("click", (event) => {
      // A click on the dialog itself, not on its content, is a click on the backdrop.
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => this.closed());
  }

  open(choices: Choice[]): void {
    if (this.dialog.open) return;
    this.choices = choices;
    this.text.value = "";
    this.dialog.showModal();
    this.text.focus();
    this.show();
  }

  private show(): void {
    this.shown = ranked(this.choices, this.text.value).slice(0, SHOWN);
    this.at = 0;
    this.list.replaceChildren(...this.shown.map((choice, at) => this.option(choice, at)));
    setText(this.none, this.shown.length === 0 ? "No session or command matches." : "");
    this.mark();
  }

  private option(choice: Choice, at: number): HTMLLIElement {
    const dot = make("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    const name = make("span", "palette-name", choice.name);
    const option = make("li", "", dot, name, make("span", "palette-hint", choice.hint));
    option.id = `palette-${at}`;
    option.setAttribute("role", "option");
    option.dataset["status"] = choice.status;
    option.addEventListener("click", () => this.choose(choice));
    option.addEventListener("pointermove", () => {
      if (this.at === at) return;
      this.at = at;
      this.mark();
    });
    return option;
  }

  private mark(): void {
    [...this.list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === this.at)));
    const chosen = this.list.children[this.at];
    if (chosen === undefined) return this.text.removeAttribute("aria-activedescendant");
    this.text.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }

  private choose(choice: Choice | undefined): void {
    if (choice === undefined) return;
    this.dialog.close();
    choice.act();
  }

  private key(event: KeyboardEvent): void {
    const { length } = this.shown;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && length > 0) {
      event.preventDefault();
      this.at = (this.at + step + length) % length;
      this.mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.choose(this.shown[this.at]);
    }
  }
}
