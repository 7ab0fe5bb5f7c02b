// The header above the terminal: the name of the open session, and the buttons for it.

import { byId, make, setDescription, setText, setTooltip } from "./dom";
import { commandOf, isPinned, isRecorded, labelTextsOf, nameOf } from "./format";
import type { Session } from "./messages";

export interface HeaderActions {
  pin(): void;
  find(): void;
  share(): void;
  edit(): void;
  end(): void;
}

export class Header {
  private readonly title = byId("title");
  private readonly subtitle = byId("subtitle");
  private readonly labels = byId("labels");
  private readonly actions = byId("header-actions");
  private readonly pin = byId<HTMLButtonElement>("pin");

  constructor(actions: HeaderActions) {
    this.pin.addEventListener("click", () => actions.pin());
    byId("find-open").addEventListener("click", () => actions.find());
    byId("share").addEventListener("click", () => actions.share());
    byId("edit").addEventListener("click", () => actions.edit());
    byId("end").addEventListener("click", () => actions.end());
  }

  /** Shows the name of a page that is no session. Returns the tab's title. */
  showPage(name: string): string {
    setText(this.title, name);
    setText(this.subtitle, "");
    this.labels.replaceChildren();
    this.actions.hidden = true;
    return `${name} · stayd`;
  }

  /** Shows the open session, null if it is unknown. `title` is its window title, `machine` where it runs if not
      here. Returns the tab's title. */
  show(session: Session | null, title: string, isOpen: boolean, isLive: boolean, machine: string | null): string {
    const name = session === null ? (isOpen ? "Session" : "Sessions") : nameOf(session);
    setText(this.title, name);
    const shown = session === null ? "" : title || (session.title ?? commandOf(session));
    setText(this.subtitle, shown === name ? "" : shown);
    const labels = session === null ? [] : labelTextsOf(session);
    const chips = labels.map((label) => make("span", "label", label));
    if (session !== null && isLive && isRecorded(session)) {
      const recorded = make("span", "label recorded", "recorded");
      setTooltip(recorded, session.recording === "all" ? "Output and input are recorded" : "Output is recorded");
      chips.unshift(recorded);
    }
    if (machine !== null) chips.unshift(make("span", "label", `on ${machine}`));
    this.labels.replaceChildren(...chips);
    this.actions.hidden = !isOpen;
    for (const id of ["edit", "end", "pin", "share"]) byId(id).hidden = !isLive;
    if (session !== null) {
      const pinned = isPinned(session);
      this.pin.setAttribute("aria-pressed", String(pinned));
      setDescription(this.pin, pinned ? "Kept for good: let the timeout end it again" : "Keep it for good");
    }
    return session === null ? "stayd" : `${title || name} · stayd`;
  }
}
