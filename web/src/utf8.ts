// Output cut at whole characters. xterm.js 6 loses some characters that are cut between two
// writes; a TextDecoder would show replacements for bytes that xterm.js, and the server's
// screen, leave out.

import type { Bytes } from "./messages";

/** Bytes that a character of UTF-8 has, by its first byte; 1 for what begins none. */
function length(first: number): number {
  if (first >= 0xf0 && first < 0xf8) return 4;
  if (first >= 0xe0) return first < 0xf0 ? 3 : 1;
  return first >= 0xc0 ? 2 : 1;
}

/** Where the last character begins, if it may go on behind the end; else the end. */
function wholeEnd(bytes: Bytes): number {
  const earliest = Math.max(0, bytes.length - 3);
  for (let at = bytes.length - 1; at >= earliest; at--) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    return at + length(byte) > bytes.length ? at : bytes.length;
  }
  return bytes.length;
}

/** Takes pieces of a stream, gives pieces that end with a whole character. */
export class WholeCharacters {
  private rest: Bytes = new Uint8Array(0);

  take(piece: Bytes): Bytes {
    const bytes = new Uint8Array(this.rest.length + piece.length);
    bytes.set(this.rest);
    bytes.set(piece, this.rest.length);
    const end = wholeEnd(bytes);
    this.rest = bytes.slice(end);
    return bytes.subarray(0, end);
  }

  /** Another stream begins. */
  reset(): void {
    this.rest = new Uint8Array(0);
  }
}
