// The panes: one session alone, or two or four side by side. One of them has the focus; the header and
// the bars are about its session.

import { byId, iconButton, make, setDescription, setLabel, setText } from "./dom";
import { nameOf } from "./format";
import type { PaneCount } from "./layout";
import { takeDropped } from "./list-drag";
import type { Session } from "./messages";
import type { Notice } from "./panel";
import type { SessionView } from "./session-view";
import type { StatusFacts } from "./status-bar";

/** A place for a session. */
export class Pane {
  readonly element = make("section", "pane");
  /** The terminal's place. */
  readonly place = make("div", "pane-terminal");
  private readonly name = make("span", "pane-name");
  view: SessionView | null = null;
  /** The session as last received, and its window title. */
  session: Session | null = null;
  windowTitle = "";
  facts: StatusFacts | null = null;
  /** Why the session cannot be used, if so. */
  notice: Notice | null = null;

  constructor(close: () => void) {
    const button = iconButton("close", "quiet", close);
    setDescription(button, "Close this pane; the session goes on");
    const empty = make("p", "pane-empty", "Choose a session from the list, or drag one here.");
    // The keyboard can go to an empty pane, too.
    this.element.tabIndex = -1;
    this.element.append(make("div", "pane-head", this.name, button), this.place, empty);
    this.show();
  }

  /** The session was left. */
  clear(): void {
    this.view = null;
    this.session = null;
    this.windowTitle = "";
    this.facts = null;
    this.notice = null;
    this.show();
  }

  focus(): void {
    if (this.view === null) this.element.focus();
    else this.view.focus();
  }

  /** Shows the name of the session. */
  show(): void {
    const name = this.view === null ? "" : this.session === null ? "Session" : nameOf(this.session);
    setText(this.name, name);
    setLabel(this.element, name === "" ? "Empty pane" : name);
    this.element.toggleAttribute("data-empty", this.view === null);
  }
}

export interface PanesCallbacks {
  /** The user has gone to another pane. */
  focused(): void;
  /** A session was dropped on a pane. */
  dropped(pane: Pane, session: string): void;
  /** A pane is closed, by its button or because there are to be fewer. */
  closed(pane: Pane): void;
}

export class Panes {
  private readonly element = byId("terminal");
  private panes: Pane[] = [];
  private at = 0;

  constructor(private readonly callbacks: PanesCallbacks) {
    this.setCount(1);
  }

  get all(): readonly Pane[] {
    return this.panes;
  }

  get focused(): Pane {
    const pane = this.panes[this.at];
    if (pane === undefined) throw new Error("there is always a pane");
    return pane;
  }

  /** The pane of a session. */
  of(id: string | null): Pane | undefined {
    return id === null ? undefined : this.panes.find(({ view }) => view?.id === id);
  }

  /** Makes it so many panes. The one that has the focus stays, and those before the others. */
  setCount(count: PaneCount): void {
    const kept = this.panes.length === 0 ? undefined : this.focused;
    while (this.panes.length > count) {
      const pane = [...this.panes].reverse().find((one) => one !== kept);
      if (pane === undefined) break;
      this.panes = this.panes.filter((one) => one !== pane);
      if (kept !== undefined) this.choose(kept);
      this.callbacks.closed(pane);
      pane.element.remove();
    }
    while (this.panes.length < count) this.panes.push(this.add());
    this.at = kept === undefined ? 0 : this.panes.indexOf(kept);
    this.element.dataset["panes"] = String(count);
    this.mark();
  }

  /** Gives a pane the focus, without telling. */
  choose(pane: Pane): void {
    this.at = Math.max(0, this.panes.indexOf(pane));
    this.mark();
  }

  /** Gives the focus to a pane that has room for a new session: to an empty one, unless the session in the
      focused one has ended or there is none. */
  chooseRoom(): void {
    const { view } = this.focused;
    const empty = this.panes.find((pane) => pane.view === null);
    if (view !== null && !view.over && empty !== undefined) this.choose(empty);
  }

  /** Puts the focused pane to another place among them. */
  moveFocused(to: number): void {
    const { focused } = this;
    const rest = this.panes.filter((pane) => pane !== focused);
    this.panes = [...rest.slice(0, to), focused, ...rest.slice(to)];
    this.at = to;
    // Moving an element takes the keyboard from it, so the others are moved around it.
    for (const pane of rest.slice(0, to)) focused.element.before(pane.element);
    for (const pane of rest.slice(to)) this.element.append(pane.element);
  }

  /** The pane so many places after the focused one. */
  neighbour(by: 1 | -1): Pane | undefined {
    return this.panes[(this.at + by + this.panes.length) % this.panes.length];
  }

  private add(): Pane {
    const pane = new Pane(() => this.callbacks.closed(pane));
    const go = () => {
      if (pane === this.focused || !this.panes.includes(pane)) return;
      this.choose(pane);
      this.callbacks.focused();
    };
    pane.element.addEventListener("focusin", go);
    pane.element.addEventListener("pointerdown", go);
    const over = (event: DragEvent | null) => pane.element.toggleAttribute("data-drop", event !== null);
    takeDropped(pane.element, over, (id) => this.callbacks.dropped(pane, id));
    this.element.append(pane.element);
    return pane;
  }

  private mark(): void {
    for (const pane of this.panes) pane.element.toggleAttribute("data-focused", pane === this.focused && this.panes.length > 1);
  }
}
