// The bytes that the keys of the key bar send to a program.

/** A key of the bar. */
export type BarKey = "esc" | "tab" | "up" | "down" | "left" | "right" | "pageup" | "pagedown" | "home" | "end" | "interrupt";

/** Keys that programs may ask for in another form (DECCKM), by their final byte. */
const CURSOR_KEYS: Partial<Record<BarKey, string>> = { up: "A", down: "B", right: "C", left: "D", home: "H", end: "F" };
/** Keys with a number. */
const NUMBERED: Partial<Record<BarKey, number>> = { pageup: 5, pagedown: 6 };

/** The modifiers that are held down until the next key. */
export interface HeldModifiers {
  ctrl: boolean;
  alt: boolean;
}

/** The bytes of a key, as xterm sends them. */
export function sequence(key: BarKey, held: HeldModifiers, applicationCursor: boolean): string {
  const modifiers = 1 + (held.alt ? 2 : 0) + (held.ctrl ? 4 : 0);
  const final = CURSOR_KEYS[key];
  if (final !== undefined) {
    if (modifiers > 1) return `\x1b[1;${modifiers}${final}`;
    return applicationCursor ? `\x1bO${final}` : `\x1b[${final}`;
  }
  const number = NUMBERED[key];
  if (number !== undefined) return modifiers > 1 ? `\x1b[${number};${modifiers}~` : `\x1b[${number}~`;
  const plain = key === "esc" ? "\x1b" : key === "tab" ? "\t" : "\x03";
  return held.alt ? `\x1b${plain}` : plain;
}

/** What was typed on the phone's keyboard, changed by the modifiers that are held down. */
export function withHeld(text: string, { ctrl, alt }: HeldModifiers): string {
  if ([...text].length !== 1) return text;
  let out = text;
  if (ctrl) {
    const code = text.toUpperCase().charCodeAt(0);
    if (code >= 0x40 && code <= 0x5f) out = String.fromCharCode(code & 0x1f);
    else if (text === " ") out = "\0";
    else if (text === "?") out = "\x7f";
  }
  return alt ? `\x1b${out}` : out;
}
