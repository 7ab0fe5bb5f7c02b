// `stayd.v1` as a state machine without a socket and without a screen: a message goes in, effects
// come out. It counts the bytes in both directions, so that a broken connection loses neither
// output nor input.

import { InputBuffer } from "./input-buffer";
import type { Attached, Bytes, ErrorMessage, Exit, ServerMessage, SessionState } from "./messages";

/** Rendered bytes between two acknowledgements. The server sends at most 1 MiB beyond the last one. */
export const ACK_EVERY = 128 << 10;
/** Bytes of input that are kept while there is no connection: as much as the server takes at once. */
export const OFFLINE_LIMIT = 64 << 10;
/** Bytes of input (of a paste) that wait for the program while the connection is good. */
export const ONLINE_LIMIT = 8 << 20;

/** A position in the bytes given to the terminal. `rendered` takes it back. */
export interface Mark {
  epoch: number;
  offset: number;
}

/** What the caller must do, in this order. */
export type Effect =
  /** Clear the terminal completely. */
  | { do: "reset" }
  /** Draw the bytes, and call `rendered` with `mark` once they are on the screen. */
  | { do: "draw"; bytes: Bytes; replay: boolean; mark: Mark }
  | { do: "resize"; cols: number; rows: number }
  | { do: "send"; data: Bytes | string }
  | { do: "attached"; message: Attached }
  | { do: "state"; message: SessionState }
  | { do: "exit"; message: Exit }
  /** The answer to a ping. */
  | { do: "pong"; id: number }
  | { do: "refused"; message: ErrorMessage }
  /** The server violated the protocol: connect again and start from nothing. */
  | { do: "restart"; why: string };

/** The position from which a client can continue; empty on the first connection. */
export interface Position {
  session?: string;
  offset?: number;
}

export class Attachment {
  readonly input: InputBuffer;
  private session: string | undefined;
  private live = false;
  private epoch = 0;
  /** Offset of the output given to the terminal. */
  private received = 0;
  /** Offset of the output that it has rendered, and the last offset that was acknowledged. */
  private renderedTo = 0;
  private acked = 0;
  /** Length of the announced snapshot; the next binary message must have it. */
  private snapshot = 0;
  /** Output before this offset was produced before this client came: its queries are already answered. */
  private replayTo = 0;
  private window = 0;

  constructor(input: InputBuffer = new InputBuffer()) {
    this.input = input;
  }

  /** Whether `attached` has arrived on this connection. */
  get attached(): boolean {
    return this.live;
  }

  /** The position to ask for when connecting. */
  position(): Position {
    return this.session === undefined ? {} : { session: this.session, offset: this.received };
  }

  /** The connection was closed. */
  closed(): void {
    this.live = false;
    if (this.snapshot > 0) {
      // The screen was cleared for a snapshot that never arrived: there is nothing to continue from.
      this.snapshot = 0;
      this.session = undefined;
    }
  }

  /** Takes a text message. */
  text(text: string): Effect[] {
    let message: ServerMessage;
    try {
      message = JSON.parse(text) as ServerMessage;
    } catch {
      return [this.restart("a control message is not JSON")];
    }
    if (message.type !== "attached" && !this.live) {
      // A refusal may come before `attached`; the close after it carries the reason.
      return message.type === "error" ? [{ do: "refused", message }] : [];
    }
    switch (message.type) {
      case "attached":
        return this.begin(message);
      case "snapshot":
        this.snapshot = message.length;
        return [this.restartAt(message.offset)];
      case "input":
        this.input.confirm(message.received);
        return this.send();
      case "resized":
        return [{ do: "resize", cols: message.cols, rows: message.rows }];
      case "state":
        return [{ do: "state", message }];
      case "exit":
        return [{ do: "exit", message }];
      case "pong":
        return [{ do: "pong", id: message.id }];
      case "error":
        return [{ do: "refused", message }];
      default:
        // Newer servers may send more message types. This client can do without them.
        return [];
    }
  }

  /** Takes a binary message: the snapshot if one was announced, otherwise output. */
  binary(bytes: Bytes): Effect[] {
    if (!this.live) return [this.restart("output before the first message")];
    if (this.snapshot > 0) {
      if (bytes.length !== this.snapshot) return [this.restart("a snapshot of another length")];
      this.snapshot = 0;
      return [this.draw(bytes, true)];
    }
    const old = Math.min(Math.max(this.replayTo - this.received, 0), bytes.length);
    const effects: Effect[] = [];
    if (old > 0) {
      this.received += old;
      effects.push(this.draw(bytes.subarray(0, old), true));
    }
    if (old < bytes.length) {
      this.received += bytes.length - old;
      effects.push(this.draw(bytes.subarray(old), false));
    }
    return effects;
  }

  /** The terminal has rendered everything up to `mark`. */
  rendered(mark: Mark): Effect[] {
    if (mark.epoch !== this.epoch) return [];
    this.renderedTo = mark.offset;
    if (!this.live || this.renderedTo - this.acked < ACK_EVERY) return [];
    this.acked = this.renderedTo;
    return [control({ type: "ack", offset: this.acked })];
  }

  /** Takes keystrokes or a paste. Null: too much is waiting, and nothing was taken. */
  typed(bytes: Bytes): Effect[] | null {
    if (!this.input.push(bytes, this.live ? ONLINE_LIMIT : OFFLINE_LIMIT)) return null;
    return this.live ? this.send() : [];
  }

  /** The window has room for this many columns and rows now. */
  resized(cols: number, rows: number): Effect[] {
    return this.live ? [control({ type: "resize", cols, rows })] : [];
  }

  /** Somebody looks at this client, or no longer does. */
  looked(looking: boolean): Effect[] {
    return this.live ? [control({ type: "looking", looking })] : [];
  }

  private begin(message: Attached): Effect[] {
    const effects: Effect[] = [];
    const continued = message.session.id === this.session && message.offset === this.received;
    if (!continued) {
      effects.push(this.restartAt(message.offset));
      this.replayTo = message.session.offset;
    }
    this.session = message.session.id;
    this.acked = message.offset;
    this.window = message.input_window;
    this.live = true;
    this.snapshot = 0;
    this.input.resume(message.input, message.session.started_at ?? message.session.created_at);
    effects.push({ do: "resize", cols: message.cols, rows: message.rows });
    effects.push({ do: "attached", message });
    return effects.concat(this.send());
  }

  private restartAt(offset: number): Effect {
    this.epoch += 1;
    this.received = offset;
    this.renderedTo = offset;
    this.acked = offset;
    return { do: "reset" };
  }

  private restart(why: string): Effect {
    this.live = false;
    this.snapshot = 0;
    this.session = undefined;
    return { do: "restart", why };
  }

  private draw(bytes: Bytes, replay: boolean): Effect {
    return { do: "draw", bytes, replay, mark: { epoch: this.epoch, offset: this.received } };
  }

  private send(): Effect[] {
    const data = this.input.take(this.window);
    return data.length > 0 ? [{ do: "send", data }] : [];
  }
}

function control(message: object): Effect {
  return { do: "send", data: JSON.stringify(message) };
}
