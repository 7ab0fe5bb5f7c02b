// Input that was typed and is not accepted yet. The server counts this client's input from its first
// byte; after a broken connection, everything beyond the server's count is sent again.

import type { Bytes } from "./messages";

export class InputBuffer {
  /** Offset of the first byte of `pending`: the server has accepted everything before it. */
  private accepted = 0;
  /** Bytes after `accepted`, oldest first. */
  private pending: Bytes = new Uint8Array(0);
  /** How many bytes of `pending` were sent on this connection. */
  private sent = 0;
  /** The run of the command to which they were sent. */
  private run: string | null = null;

  /** How many bytes were typed and are not accepted. */
  get waiting(): number {
    return this.pending.length;
  }

  /** Appends input, unless more than `limit` bytes would wait. */
  push(bytes: Bytes, limit: number): boolean {
    if (this.pending.length + bytes.length > limit) return false;
    const joined = new Uint8Array(this.pending.length + bytes.length);
    joined.set(this.pending);
    joined.set(bytes, this.pending.length);
    this.pending = joined;
    return true;
  }

  /** A connection to this run of the command began, and the server has accepted `received` bytes: the
      rest is sent again. A new run counts from zero: it must not get what was sent to the run before
      it, but it gets what was typed since. */
  resume(received: number, run = ""): void {
    if (this.run !== null && run !== this.run) {
      this.pending = this.pending.slice(this.sent);
      this.accepted = received;
    } else if (received < this.accepted) {
      // The server has forgotten this client's count and starts a new one.
      this.accepted = received;
    } else {
      this.drop(received);
    }
    this.run = run;
    this.sent = 0;
  }

  /** The server has accepted everything before `received`. */
  confirm(received: number): void {
    if (received <= this.accepted) return;
    this.sent = Math.max(0, this.sent - (received - this.accepted));
    this.drop(received);
  }

  /** Drops everything, for a new client id: the server may have accepted it under the old id. */
  forget(): void {
    this.accepted = 0;
    this.pending = new Uint8Array(0);
    this.sent = 0;
  }

  /** The bytes to send now: no more than `window` bytes are sent and not accepted. */
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
