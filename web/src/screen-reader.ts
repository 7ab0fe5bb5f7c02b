// Whether the terminal is readable by screen readers. It is off by default: the copy of the screen
// as text makes xterm.js slower.

import { byId } from "./dom";
import { loadSetting, saveSetting } from "./storage";

const WANTED = "stayd-screen-reader";

class ScreenReader extends EventTarget {
  private on = loadSetting(WANTED) === "yes";

  get isOn(): boolean {
    return this.on;
  }

  toggle(): void {
    this.on = !this.on;
    saveSetting(WANTED, this.on ? "yes" : "no");
    this.dispatchEvent(new Event("change"));
  }
}

/** Fires "change" when it is turned on or off. */
export const screenReader = new ScreenReader();

/** Connects the first button of the page, which is visible only under keyboard focus. */
export function connectScreenReaderButton(): void {
  const button = byId<HTMLButtonElement>("screen-reader");
  const show = () => button.setAttribute("aria-pressed", String(screenReader.isOn));
  button.addEventListener("click", () => screenReader.toggle());
  screenReader.addEventListener("change", show);
  show();
}
