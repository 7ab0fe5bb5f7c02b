// A bar with the keys that a phone's keyboard lacks.

import { button, byId, icon, setLabel } from "./dom";
import type { BarKey, HeldModifiers } from "./key-sequences";

export interface KeyBarCallbacks {
  press(key: BarKey): void;
  paste(): void;
}

const KEYS: [BarKey | "ctrl" | "alt" | "paste", string, string][] = [
  ["esc", "Esc", "Escape"],
  ["tab", "Tab", "Tab"],
  ["ctrl", "Ctrl", "Control, for the next key"],
  ["alt", "Alt", "Alt, for the next key"],
  ["left", "←", "Left"],
  ["down", "↓", "Down"],
  ["up", "↑", "Up"],
  ["right", "→", "Right"],
  ["pageup", "PgUp", "Page up"],
  ["pagedown", "PgDn", "Page down"],
  ["home", "Home", "Home"],
  ["end", "End", "End"],
  ["interrupt", "^C", "Control C: interrupt"],
  ["paste", "", "Paste"],
];

export class KeyBar {
  private readonly element = byId("keybar");
  private readonly held: HeldModifiers = { ctrl: false, alt: false };
  private readonly modifierButtons: Record<keyof HeldModifiers, HTMLButtonElement>;

  constructor(callbacks: KeyBarCallbacks) {
    const buttons = KEYS.map(([key, text, name]) => {
      const act = () => {
        if (key === "ctrl" || key === "alt") this.hold(key, !this.held[key]);
        else if (key === "paste") callbacks.paste();
        else callbacks.press(key);
      };
      const one = button(text, "quiet", act);
      setLabel(one, name);
      if (key === "paste") one.append(icon("paste"));
      if (key === "paste" && !navigator.clipboard) one.hidden = true;
      return one;
    });
    // Keep the focus in the terminal; without it the phone hides its keyboard.
    this.element.addEventListener("pointerdown", (event) => event.preventDefault());
    this.element.addEventListener("mousedown", (event) => event.preventDefault());
    this.element.replaceChildren(...buttons);
    this.element.addEventListener("scroll", () => this.showEdges());
    new ResizeObserver(() => this.showEdges()).observe(this.element);
    const [, , ctrl, alt] = buttons as [HTMLButtonElement, HTMLButtonElement, HTMLButtonElement, HTMLButtonElement];
    this.modifierButtons = { ctrl, alt };
    this.hold("ctrl", false);
    this.hold("alt", false);
  }

  /** Shows the bar for a terminal that takes input, on touch screens only. */
  show(shown: boolean): void {
    this.element.hidden = !shown || !matchMedia("(pointer: coarse)").matches;
  }

  /** Returns the modifiers that are held down, and releases them. */
  take(): HeldModifiers {
    const held = { ...this.held };
    if (held.ctrl) this.hold("ctrl", false);
    if (held.alt) this.hold("alt", false);
    return held;
  }

  /** The keys at an edge fade where there are more beyond it. */
  private showEdges(): void {
    const { scrollLeft, clientWidth, scrollWidth } = this.element;
    this.element.toggleAttribute("data-more-before", scrollLeft > 4);
    this.element.toggleAttribute("data-more-after", scrollLeft + clientWidth < scrollWidth - 4);
  }

  private hold(key: keyof HeldModifiers, down: boolean): void {
    this.held[key] = down;
    this.modifierButtons[key].setAttribute("aria-pressed", String(down));
  }
}

/** Makes room for the keyboard of phones that lay it over the page instead of resizing the page. */
export function followKeyboard(): void {
  const viewport = window.visualViewport;
  if (viewport === null || viewport === undefined) return;
  const follow = () => {
    // Zooming in also makes the visual viewport smaller, and needs no room.
    const covered = viewport.scale === 1 && viewport.height < window.innerHeight - 1;
    document.body.style.height = covered ? `${viewport.height}px` : "";
    if (covered) window.scrollTo(0, 0);
  };
  viewport.addEventListener("resize", follow);
  // Safari scrolls the page to show the field that has the focus.
  viewport.addEventListener("scroll", follow);
}
