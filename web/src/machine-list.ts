// The machines of a fleet in the list, each with its sessions.

import type { Attention } from "./attention";
import type { MachineGroup } from "./machine-groups";
import { MachineSection, type MachineSectionCallbacks } from "./machine-section";

export class MachineList {
  private readonly sections = new Map<string, MachineSection>();

  constructor(
    private readonly element: HTMLElement,
    private readonly attention: Attention,
    private readonly callbacks: MachineSectionCallbacks,
  ) {}

  show(groups: readonly MachineGroup[], now: number): void {
    const gone = new Set(this.sections.keys());
    groups.forEach((group, place) => {
      const { name } = group.machine;
      gone.delete(name);
      const section = this.sections.get(name) ?? this.add(name);
      section.show(group, now);
      // Moving an element takes the focus from it, so only those out of place are moved.
      const there = this.element.children[place];
      if (there !== section.element) this.element.insertBefore(section.element, there ?? null);
    });
    for (const name of gone) {
      this.sections.get(name)?.element.remove();
      this.sections.delete(name);
    }
    this.element.hidden = groups.length === 0;
  }

  /** Updates what depends on the time. */
  tick(now: number): void {
    for (const section of this.sections.values()) section.tick(now);
  }

  private add(name: string): MachineSection {
    const section = new MachineSection(name, this.attention, this.callbacks);
    this.sections.set(name, section);
    return section;
  }
}
