// Chooses how many panes there are: as the user wants it, one where the window is narrow, and as it was
// at the last visit.

import { byId } from "./dom";
import { type Layout, loadLayout, type PaneCount, type PaneSession, saveLayout } from "./layout";
import type { Pane, Panes } from "./panes";

/** Windows this narrow show one session at a time. */
const narrow = matchMedia("(max-width: 46rem)");
const COUNTS: PaneCount[] = [1, 2, 4];

export interface LayoutCallbacks {
  /** Opens a session in a pane that has not the focus, if the session is alive. */
  open(pane: Pane, session: PaneSession): void;
  /** There are more or fewer panes now. */
  changed(): void;
}

export class LayoutControl {
  private layout: Layout = { count: 1, sessions: [] };
  private isReady = false;
  /** A tab that was opened for one session changes what is remembered only once the user changes its panes. */
  private remembers = false;

  constructor(
    private readonly panes: Panes,
    private readonly callbacks: LayoutCallbacks,
  ) {
    for (const count of COUNTS) byId(`panes-${count}`).addEventListener("click", () => this.choose(count));
    narrow.addEventListener("change", () => this.apply());
    this.show();
  }

  /** Makes the panes of the last visit, unless the address of one session has led here. The session is
      about to be opened, and its pane gets the focus. */
  restore(session: string | null, isLinked: boolean): void {
    const layout = loadLayout(isLinked);
    this.isReady = true;
    this.remembers = layout !== null;
    this.layout = layout ?? this.layout;
    this.apply(session);
  }

  /** The user wants so many panes. */
  choose(count: PaneCount): void {
    if (!this.isReady || narrow.matches || count === this.panes.all.length) return;
    this.panes.setCount(count);
    this.remembers = true;
    this.save();
    this.show();
    this.callbacks.changed();
    // The button has taken the keyboard from the terminal.
    this.panes.focused.focus();
  }

  /** Remembers what is open. */
  save(): void {
    if (!this.remembers || narrow.matches) return;
    const { all } = this.panes;
    this.layout = { count: all.length as PaneCount, sessions: all.map(({ view }) => view && { id: view.id, readOnly: view.mode === "ro" }) };
    saveLayout(this.layout);
  }

  private apply(opening: string | null = this.panes.focused.view?.id ?? null): void {
    if (!this.isReady) return;
    const { count, sessions } = this.layout;
    this.panes.setCount(narrow.matches ? 1 : count);
    const place = sessions.findIndex((session) => session?.id === opening);
    if (opening !== null && this.panes.all[place] !== undefined) this.panes.moveFocused(place);
    this.panes.all.forEach((pane, at) => {
      const session = sessions[at] ?? null;
      if (session === null || session.id === opening || this.panes.of(session.id) !== undefined) return;
      if (pane !== this.panes.focused && pane.view === null) this.callbacks.open(pane, session);
    });
    this.show();
    this.callbacks.changed();
  }

  private show(): void {
    for (const count of COUNTS) byId(`panes-${count}`).setAttribute("aria-pressed", String(this.panes.all.length === count));
  }
}
