// Splits output between characters only. xterm.js 6 loses some characters that are split between
// two writes. A TextDecoder would insert replacement characters for bytes that xterm.js and the
// server's screen leave out.

import type { Bytes } from "./messages";

/** The length of a UTF-8 character, by its first byte; 1 for a byte that begins none. */
function length(first: number): number {
  if (first >= 0xf0 && first < 0xf8) return 4;
  if (first >= 0xe0) return first < 0xf0 ? 3 : 1;
  return first >= 0xc0 ? 2 : 1;
}

/** Where the last character begins if it is incomplete, otherwise the end. */
function wholeEnd(bytes: Bytes): number {
  const earliest = Math.max(0, bytes.length - 3);
  for (let at = bytes.length - 1; at >= earliest; at--) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    return at + length(byte) > bytes.length ? at : bytes.length;
  }
  return bytes.length;
}

/** Takes pieces of a stream and returns pieces that end with a complete character. */
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

  /** Starts with another stream. */
  reset(): void {
    this.rest = new Uint8Array(0);
  }
}
