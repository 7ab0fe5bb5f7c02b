// A machine in the list: its name and state, and its sessions under it.

import type { Attention } from "./attention";
import { button, iconButton, make, setDescription, setText, setTooltip } from "./dom";
import { count } from "./format";
import { formatLabels } from "./labels";
import type { MachineGroup } from "./machine-groups";
import { machineText } from "./machine-text";
import type { Session } from "./messages";
import { SessionRows, type SessionRowsCallbacks } from "./session-rows";

/** So many rows are shown at first, and so many more at a time. */
const ROWS = 100;

export interface MachineSectionCallbacks extends SessionRowsCallbacks {
  /** The user unfolds a machine, or folds it. */
  fold(machine: string, unfolded: boolean): void;
  /** Starts a shell on it. */
  start(machine: string): void;
  /** More rows are to be shown. */
  show(): void;
}

export class MachineSection {
  readonly element: HTMLElement;
  /** The button that folds. */
  readonly toggle: HTMLButtonElement;
  private readonly count = make("span", "count");
  private readonly facts = make("span", "machine-facts");
  private readonly add: HTMLButtonElement;
  private readonly list = make("ul", "machine-sessions");
  private readonly more: HTMLButtonElement;
  private readonly rows: SessionRows;
  private group: MachineGroup | null = null;
  private limit = ROWS;

  constructor(
    name: string,
    attention: Attention,
    private readonly callbacks: MachineSectionCallbacks,
  ) {
    this.toggle = button("", "machine-toggle", () => callbacks.fold(name, !(this.group?.unfolded ?? false)));
    const shown = make("span", "machine-name", name);
    const top = make("span", "machine-top", make("span", "dot"), shown, this.count);
    this.toggle.append(top, this.facts);
    this.toggle.id = `machine-${name}`;
    this.list.id = `machine-${name}-sessions`;
    shown.id = `machine-${name}-name`;
    this.list.setAttribute("aria-labelledby", shown.id);
    this.toggle.setAttribute("aria-controls", this.list.id);
    this.add = iconButton("plus", "quiet", () => callbacks.start(name));
    this.add.dataset["needs"] = "create";
    setDescription(this.add, `New session on ${name}`);
    this.more = button("", "link side-note", () => {
      this.limit += ROWS;
      callbacks.show();
    });
    this.rows = new SessionRows(this.list, attention, callbacks);
    this.element = make("section", "machine", make("div", "machine-head", make("h3", "", this.toggle), this.add), this.list, this.more);
  }

  show(group: MachineGroup, now: number): void {
    this.group = group;
    const { machine, unfolded, sessions } = group;
    this.element.dataset["state"] = machine.state;
    this.toggle.setAttribute("aria-expanded", String(unfolded));
    setText(this.count, machine.gateway && group.count === 0 ? "" : String(group.count));
    setTooltip(this.toggle, count(group.count, "session"), formatLabels(machine.labels), machine.since === null ? "" : `since ${new Date(machine.since).toLocaleString()}`);
    this.add.hidden = machine.state === "offline" || machine.gateway || (!machine.self && machine.rights === "viewer");
    // The open session is shown in any case: one sees where one is.
    const shown: Session[] = unfolded ? sessions.slice(0, this.limit) : sessions.filter(({ id }) => id === this.callbacks.current());
    if (!unfolded) this.limit = ROWS;
    this.rows.show(shown);
    this.list.hidden = shown.length === 0;
    const rest = unfolded ? sessions.length - shown.length : 0;
    this.more.hidden = rest === 0;
    setText(this.more, `Show ${Math.min(rest, ROWS)} of ${rest} more`);
    setText(this.facts, machineText(machine, now));
  }

  /** Updates what depends on the time. */
  tick(now: number): void {
    // There may be a thousand of them: what stands still is left alone.
    if (this.group?.machine.state === "offline") setText(this.facts, machineText(this.group.machine, now));
    if (!this.list.hidden) this.rows.tick();
  }
}
