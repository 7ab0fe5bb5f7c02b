// Whether screen readers can read the terminal: a copy of it in words costs everybody else speed.

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

/** Tells "change". */
export const screenReader = new ScreenReader();

/** The button that only the keyboard finds, before everything else. */
export function connectScreenReaderButton(): void {
  const button = byId<HTMLButtonElement>("screen-reader");
  const show = () => button.setAttribute("aria-pressed", String(screenReader.isOn));
  button.addEventListener("click", () => screenReader.toggle());
  screenReader.addEventListener("change", show);
  show();
}
