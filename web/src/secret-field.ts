// A secret that the server tells once, with a button that copies it.

import { writeClipboard } from "./clipboard";
import { byId, setText } from "./dom";

/** `ID` with its `ID-text`, `ID-copy` and `ID-said`. */
export class SecretField {
  private readonly element: HTMLElement;
  private readonly field: HTMLInputElement;
  private readonly said: HTMLElement;

  constructor(id: string) {
    this.element = byId(id);
    this.field = byId<HTMLInputElement>(`${id}-text`);
    this.said = byId(`${id}-said`);
    byId(`${id}-copy`).addEventListener("click", () => void this.copy());
    this.field.addEventListener("focus", () => this.field.select());
  }

  show(secret: string): void {
    this.field.value = secret;
    setText(this.said, "");
    this.element.hidden = false;
    this.field.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }

  clear(): void {
    this.field.value = "";
    this.element.hidden = true;
  }

  private async copy(): Promise<void> {
    try {
      await writeClipboard(this.field.value);
      setText(this.said, "Copied.");
    } catch {
      this.field.focus();
      setText(this.said, "The browser did not let the page copy it. It is selected: copy it with your keyboard.");
    }
  }
}
