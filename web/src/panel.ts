// Messages around the terminal: the panel, the toast and the confirmation.

import { button, byId, make, setText } from "./dom";

/** A message with buttons for what can be done next. */
export interface Notice {
  title: string;
  text: string;
  tone: "plain" | "good" | "bad";
  actions: { label: string; act: () => void; primary?: boolean }[];
}

/** The panel under the terminal: how the session ended, or who took it over. */
export class Panel {
  private readonly element = byId("panel");

  show({ title, text, tone, actions }: Notice): void {
    const heading = make("h2", "", title);
    const buttons = actions.map(({ label, act, primary }) =>
      button(label, primary ? "primary" : "", act),
    );
    this.element.replaceChildren(
      make("div", "panel-text", heading, make("p", "", text)),
      make("div", "panel-actions", ...buttons),
    );
    this.element.dataset["tone"] = tone;
    this.element.hidden = false;
  }

  clear(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}

/** A line about a failure. It stays until it is closed or until an action works. */
export class Toast {
  private readonly element = byId("toast");
  private readonly text = byId("toast-text");

  constructor() {
    byId("toast-close").addEventListener("click", () => this.clear());
  }

  show(text: string): void {
    setText(this.text, text);
    this.element.hidden = false;
  }

  clear(): void {
    this.element.hidden = true;
  }
}

/** Asks before an action: a destructive one cannot be undone. */
export function confirmed(title: string, text: string, verb: string, tone: "destructive" | "primary" = "destructive"): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), verb);
  byId("confirm-yes").className = tone;
  setText(byId("confirm-no"), tone === "destructive" ? "Keep it" : "No");
  return agreed(dialog);
}

/** Shows a dialog and resolves when it closes: true if its "yes" button closed it. */
export function agreed(dialog: HTMLDialogElement): Promise<boolean> {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
