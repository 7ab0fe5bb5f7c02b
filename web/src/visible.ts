// Makes the characters of foreign text visible that would otherwise act on the page instead of being
// read: control characters, those that reverse the direction of text, and those without a width.

/** Text of which nothing needs a replacement, which is nearly all of it. */
const PLAIN = /^[ -~]*$/;
/** Two emoji joined into one, and the selectors of an emoji's form: the only invisible characters that stay. */
const EMOJI = /(?<=\p{Extended_Pictographic}\ufe0f?)\u200d(?=\p{Extended_Pictographic})|(?<=[\p{Extended_Pictographic}\d#*])\ufe0f/u;
/** Control (C0, C1), format (direction, zero width, tags), separators of lines, surrogates, and fillers
    that are letters by name only. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Variation_Selector}\u034f\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0]/u;
const EITHER = new RegExp(`${EMOJI.source}|${HIDDEN.source}`, "gu");
const KEPT = new Set(["\u200d", "\ufe0f"]);

/** The text as it may be shown. Every text that is not the page's own goes through here: `dom.ts` does
    so for all elements. */
export function visibleText(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(EITHER, (character, at: number) => {
    if (KEPT.has(character) && staysAt(text, at)) return character;
    const code = character.codePointAt(0) ?? 0;
    // Unicode has pictures of the ASCII control characters: ␛ for Escape.
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

function staysAt(text: string, at: number): boolean {
  const emoji = new RegExp(EMOJI.source, "uy");
  emoji.lastIndex = at;
  return emoji.test(text);
}

/** The beginning of a text as it may be shown: at most `limit` characters of it, and how many there are. */
export function visibleStart(text: string, limit: number): string {
  const characters = [...text.slice(0, 2 * limit)];
  const whole = characters.length <= limit && text.length <= 2 * limit;
  return whole ? visibleText(text) : `${visibleText(characters.slice(0, limit).join(""))}… (${text.length} characters)`;
}
