// What was typed and has not been accepted yet. The server counts this client's input from
// its first byte; what a broken connection swallowed is sent again from the server's count.

import type { Bytes } from "./messages";

export class InputBuffer {
  /** Offset of the first byte of `pending`: all before it was accepted. */
  private accepted = 0;
  /** Bytes after `accepted`, oldest first. */
  private pending: Bytes = new Uint8Array(0);
  /** Bytes of `pending` that were sent on this connection. */
  private sent = 0;
  /** The run of the command that they were sent to. */
  private run: string | null = null;

  /** Bytes typed and not accepted. */
  get waiting(): number {
    return this.pending.length;
  }

  /** Keeps what was typed, unless more than `limit` bytes would wait. */
  push(bytes: Bytes, limit: number): boolean {
    if (this.pending.length + bytes.length > limit) return false;
    const joined = new Uint8Array(this.pending.length + bytes.length);
    joined.set(this.pending);
    joined.set(bytes, this.pending.length);
    this.pending = joined;
    return true;
  }

  /** A connection to this run of the command began, and the server had accepted `received`
      bytes: the rest goes again. Another run counts anew: what was sent to the one before is
      not for it, what was typed since is. */
  resume(received: number, run = ""): void {
    if (this.run !== null && run !== this.run) {
      this.pending = this.pending.slice(this.sent);
      this.accepted = received;
    } else if (received < this.accepted) {
      // The server has forgotten this client's count and begins a new one.
      this.accepted = received;
    } else {
      this.drop(received);
    }
    this.run = run;
    this.sent = 0;
  }

  /** The server accepted all before `received`. */
  confirm(received: number): void {
    if (received <= this.accepted) return;
    this.sent = Math.max(0, this.sent - (received - this.accepted));
    this.drop(received);
  }

  /** Another client's count: what waits was perhaps accepted under the old one, so it goes. */
  forget(): void {
    this.accepted = 0;
    this.pending = new Uint8Array(0);
    this.sent = 0;
  }

  /** The bytes to send now, at most `window` beyond what was accepted. */
  take(window: number): Bytes {
    const end = Math.min(this.pending.length, window);
    const bytes = this.pending.slice(this.sent, Math.max(end, this.sent));
    this.sent += bytes.length;
    return bytes;
  }

  private drop(received: number): void {
    this.pending = this.pending.slice(Math.min(received - this.accepted, this.pending.length));
    this.accepted = received;
  }
}
