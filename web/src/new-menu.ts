// The menu beside "New session": the dialog for any session, and a session by each profile.

import { listProfiles } from "./api";
import { commandLine } from "./argv";
import { button, byId, make } from "./dom";
import { authorized } from "./login";
import type { Profile } from "./messages";

export interface NewMenuActions {
  /** Opens the dialog; `elsewhere`: it asks for the machine first. */
  startOther(elsewhere: boolean): void;
  start(profile: string): void;
  /** Starts a shell on whichever machine has the fewest sessions. */
  startAnywhere(): void;
  /** There are other machines. */
  inFleet(): boolean;
}

export class NewMenu {
  private readonly opener = byId<HTMLButtonElement>("new-more");
  private readonly menu = byId("new-menu");
  /** Counts the openings: profiles that arrive late belong to an earlier one. */
  private opening = 0;

  constructor(private readonly actions: NewMenuActions) {
    this.opener.addEventListener("click", () => (this.menu.hidden ? this.open() : this.close()));
    this.opener.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" || !this.menu.hidden) return;
      event.preventDefault();
      this.open();
    });
    this.menu.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", (event) => {
      const at = event.target as Node;
      if (!this.menu.contains(at) && !this.opener.contains(at)) this.hide();
    });
    // A click on what takes no focus leaves it nowhere, and is an entry's or a pointer's matter.
    this.menu.addEventListener("focusout", ({ relatedTarget: to }) => {
      if (to instanceof Node && !this.menu.contains(to) && to !== this.opener) this.hide();
    });
  }

  private open(): void {
    const opening = ++this.opening;
    const other = this.entry("Other…", "a command, a name, labels", () => this.actions.startOther(false));
    const places = [
      this.entry("On any machine", "a shell where the fewest sessions are", () => this.actions.startAnywhere()),
      this.entry("On another machine…", "by its name or its labels", () => this.actions.startOther(true)),
    ];
    this.menu.replaceChildren(other, ...(this.actions.inFleet() ? places : []));
    this.menu.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
    other.focus();
    // They arrive while the menu is open already. Without them, the dialog says what is wrong.
    authorized(() => listProfiles()).then(
      (profiles) => opening === this.opening && this.menu.append(...profiles.map((one) => this.profile(one))),
      () => {},
    );
  }

  private profile({ name, command }: Profile): HTMLButtonElement {
    return this.entry(name, commandLine(command), () => this.actions.start(name));
  }

  private entry(name: string, hint: string, act: () => void): HTMLButtonElement {
    const entry = button(name, "", () => {
      this.close();
      act();
    });
    entry.append(make("span", "hint", hint));
    entry.setAttribute("role", "menuitem");
    entry.tabIndex = -1;
    return entry;
  }

  private key(event: KeyboardEvent): void {
    const entries = [...this.menu.querySelectorAll("button")];
    const at = entries.findIndex((one) => one === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) entries.at(to % entries.length)?.focus();
    else if (event.key === "Escape") this.close();
    else if (event.key === "Tab") return this.hide();
    else return;
    event.preventDefault();
    // Escape would close the list as well.
    event.stopPropagation();
  }

  /** Closes the menu and gives the keyboard back. */
  private close(): void {
    this.hide();
    this.opener.focus();
  }

  private hide(): void {
    this.opening++;
    this.menu.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
  }
}
