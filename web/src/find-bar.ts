// The bar that searches the terminal and its scrollback.

import type { SearchAddon } from "@xterm/addon-search";
import { byId, setText } from "./dom";
import { isDark } from "./theme";

const options = () => ({
  decorations: isDark()
    ? { matchBackground: "#3a4a1f", activeMatchBackground: "#8a6d12", matchOverviewRuler: "#8a6d12", activeMatchColorOverviewRuler: "#e9b949" }
    : { matchBackground: "#fff0b3", activeMatchBackground: "#ffc93c", matchOverviewRuler: "#ffc93c", activeMatchColorOverviewRuler: "#a86a00" },
});

/** The terminal that is searched. */
export interface Searchable {
  readonly search: SearchAddon;
  selection(): string;
}

export class FindBar {
  private readonly form = byId<HTMLFormElement>("find");
  private readonly text = byId<HTMLInputElement>("find-text");
  private readonly count = byId("find-count");

  constructor(
    private readonly searched: () => Searchable | undefined,
    private readonly closed: () => void,
  ) {
    this.text.addEventListener("input", () => this.go("here"));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("keydown", (event) => this.key(event));
    byId("find-next").addEventListener("click", () => this.go("next"));
    byId("find-back").addEventListener("click", () => this.go("back"));
    byId("find-close").addEventListener("click", () => this.close());
  }

  /** Shows the bar with the terminal's selection as its text. */
  open(): void {
    const selected = this.searched()?.selection() ?? "";
    this.form.hidden = false;
    if (selected !== "" && !selected.includes("\n")) this.text.value = selected;
    this.text.focus();
    this.text.select();
    this.go("here");
  }

  /** Hides the bar and returns the keyboard to the terminal. */
  close(): void {
    if (this.form.hidden) return;
    this.clear();
    this.closed();
  }

  /** Hides the bar without moving the focus, since another session is opened. */
  clear(): void {
    this.form.hidden = true;
    this.searched()?.search.clearDecorations();
  }

  /** Shows which match is selected, and of how many. */
  showResults(index: number, count: number): void {
    const none = this.text.value === "" ? "" : "none";
    const most = count >= 1000 ? "1000+" : String(count);
    setText(this.count, count === 0 ? none : `${index < 0 ? "?" : index + 1} of ${most}`);
  }

  private go(where: "here" | "next" | "back"): void {
    const search = this.searched()?.search;
    const { value } = this.text;
    if (search === undefined) return;
    if (value === "") {
      search.clearDecorations();
      this.showResults(-1, 0);
    } else if (where === "next") search.findNext(value, options());
    else {
      // The search begins at the bottom, where the newest output is. More letters keep the match if they can.
      search.findPrevious(value, { ...options(), incremental: where === "here" });
    }
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (event.key === "Enter" && event.target === this.text) {
      event.preventDefault();
      // Enter goes upwards: the newest match is at the bottom.
      this.go(event.shiftKey ? "back" : "next");
    }
  }
}
