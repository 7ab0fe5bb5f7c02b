// The WebSocket of an attachment: opens it, interprets its close codes and reconnects.

import type { Attachment, Effect } from "./attachment";
import { delay } from "./backoff";
import { GIVE_UP_AFTER_MS, Heartbeat } from "./heartbeat";
import type { Bytes, Exit } from "./messages";

/** The state of the connection, which the status bar always shows. */
export type ConnectionState =
  /** `again`: the connection was lost and is being restored. `away`: why it cannot be, if that is known. */
  | { is: "connecting"; again: boolean; away: string | null }
  | { is: "attached" }
  /** `at`: the time of the next attempt, in ms of `performance.now()`. */
  | { is: "waiting"; at: number; away: string | null }
  | { is: "ended"; exit: Exit | null }
  | { is: "taken-over" }
  | { is: "missing" }
  /** The token, the link or the login has ended. */
  | { is: "signed-out" }
  | { is: "refused"; why: string };

/** Why an attempt never opened. Browsers hide the HTTP status of a WebSocket, so the page asks for it. */
export type Diagnosis =
  | "retry"
  | "missing"
  | "ended"
  | { refused: string }
  /** The server answers, but does not reach the session's machine: the same attempt may work later. */
  | { away: string };

export interface ConnectionCallbacks {
  stateChanged(state: ConnectionState): void;
  effects(effects: Effect[]): void;
  /** Nothing was heard from the server for so many ms; 0: all is well again. */
  silent(ms: number): void;
  /** The size for which this window has room. */
  size(): { cols: number; rows: number };
  /** Asks over HTTP why an attempt failed, and signs in again if that was the reason. */
  diagnose(session: string): Promise<Diagnosis>;
  /** The server has closed as not allowed. Signs in again, if the login has ended; false: that was not
      the reason, and the same request would be refused again. */
  signInAgain(): Promise<boolean>;
}

/** An attempt that has not opened after this time is abandoned. */
const OPEN_WITHIN_MS = 10_000;
/** The close code for a session that the server does not know. */
const NOT_FOUND = 4404;
/** Time between two looks at the heartbeat. */
const LOOK_EVERY_MS = 500;

export class Connection {
  private socket: WebSocket | null = null;
  private timer = 0;
  private attempt = 0;
  private lostAt = 0;
  private away: string | null = null;
  private exit: Exit | null = null;
  private stopped = false;
  /** The server has accepted this connection, so what it was asked for is allowed. */
  private accepted = false;
  private heartbeat = new Heartbeat(performance.now());
  private looks = 0;
  private silence = 0;

  constructor(
    private readonly session: string,
    private client: string,
    private readonly mode: "rw" | "ro",
    private readonly attachment: Attachment,
    private readonly callbacks: ConnectionCallbacks,
  ) {
    addEventListener("online", this.retryNow);
    document.addEventListener("visibilitychange", this.seen);
  }

  /** Makes an attempt to connect. */
  open(): void {
    this.callbacks.stateChanged({ is: "connecting", again: this.lostAt !== 0, away: this.away });
    const socket = new WebSocket(this.url(), "stayd.v1");
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.accepted = false;
    let opened = false;
    const deadline = setTimeout(() => socket.close(), OPEN_WITHIN_MS);
    socket.onopen = () => {
      opened = true;
      clearTimeout(deadline);
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (this.socket !== socket) return;
      this.heartbeat.heard(performance.now());
      if (this.silence > 0) this.tellSilence(0);
      const effects =
        typeof data === "string"
          ? this.attachment.text(data)
          : this.attachment.binary(new Uint8Array(data));
      this.run(effects);
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(deadline);
      if (this.socket !== socket) return;
      this.lost();
      void this.closed(code, reason, opened);
    };
  }

  /** The time in ms that a message takes to the server and back; null as long as it is unknown. */
  get roundTrip(): number | null {
    return this.heartbeat.roundTrip;
  }

  /** Executes the effects that concern the socket and passes all of them on. */
  run(effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.do === "send") this.send(effect.data);
      else if (effect.do === "restart") this.socket?.close(4000, effect.why);
      else if (effect.do === "exit") this.exit = effect.message;
      else if (effect.do === "pong") this.heartbeat.answered(effect.id, performance.now());
      else if (effect.do === "attached") {
        this.watch();
        this.accepted = true;
        this.attempt = 0;
        this.lostAt = 0;
        this.away = null;
        this.callbacks.stateChanged({ is: "attached" });
      }
    }
    this.callbacks.effects(effects);
    if (!effects.some((effect) => effect.do === "exit")) return;
    // The exit message follows all output. There is no need to wait for the close after it.
    this.attachment.closed();
    this.callbacks.stateChanged({ is: "ended", exit: this.exit });
  }

  /** Attaches under another client id, after another tab took this one over. */
  reopenAs(client: string): void {
    this.client = client;
    this.attachment.input.forget();
    this.open();
  }

  /** Attaches once more, since the client that attached last is in control. Nothing is lost meanwhile. */
  takeControl(): void {
    const before = this.socket;
    if (before === null) return;
    this.lost();
    before.onclose = null;
    before.onmessage = null;
    this.open();
    // The old socket stays open until the new one is attached. Otherwise nobody would be attached for a moment.
    const leave = () => before.close(1000);
    this.socket?.addEventListener("message", leave, { once: true });
    this.socket?.addEventListener("close", leave, { once: true });
  }

  /** Connects now if an attempt is scheduled for later. */
  readonly retryNow = (): void => {
    if (this.timer === 0) return;
    clearTimeout(this.timer);
    this.timer = 0;
    this.open();
  };

  /** Closes the connection for good. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = 0;
    removeEventListener("online", this.retryNow);
    document.removeEventListener("visibilitychange", this.seen);
    const { socket } = this;
    this.lost();
    socket?.close(1000);
  }

  /** There is no connection any more. */
  private lost(): void {
    this.socket = null;
    this.attachment.closed();
    clearInterval(this.looks);
    if (this.silence > 0) this.tellSilence(0);
  }

  /** Watches the line from now on. */
  private watch(): void {
    clearInterval(this.looks);
    this.heartbeat = new Heartbeat(performance.now());
    this.looks = window.setInterval(() => {
      const now = performance.now();
      const id = this.heartbeat.tick(now);
      if (id !== null) this.run([{ do: "send", data: JSON.stringify({ type: "ping", id }) }]);
      const silence = this.heartbeat.silence(now);
      if (silence >= GIVE_UP_AFTER_MS) return this.giveUp();
      if (silence > 0 || this.silence > 0) this.tellSilence(silence);
    }, LOOK_EVERY_MS);
  }

  /** The line is dead. The browser would only notice much later. */
  private giveUp(): void {
    const { socket } = this;
    this.lost();
    socket?.close(4000, "nothing was heard");
    void this.closed(1006, "", true);
  }

  private tellSilence(ms: number): void {
    this.silence = ms;
    this.callbacks.silent(ms);
  }

  /** Sends if the socket is open. Input that is not sent here is sent again on the next connection. */
  private send(data: Bytes | string): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  private readonly seen = (): void => {
    if (document.visibilityState === "visible") this.retryNow();
  };

  private url(): string {
    const url = new URL(`api/v1/sessions/${encodeURIComponent(this.session)}/attach`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    const { cols, rows } = this.callbacks.size();
    const { session, offset } = this.attachment.position();
    url.searchParams.set("client", this.client);
    if (this.mode === "ro") url.searchParams.set("mode", "ro");
    url.searchParams.set("cols", String(cols));
    url.searchParams.set("rows", String(rows));
    if (session !== undefined) {
      url.searchParams.set("session", session);
      url.searchParams.set("offset", String(offset));
    }
    return url.href;
  }

  private async closed(code: number, reason: string, opened: boolean): Promise<void> {
    if (this.exit !== null) return;
    switch (code) {
      case 1000:
      case 4410:
        return this.callbacks.stateChanged({ is: "ended", exit: null });
      case 1008:
        // A login that has ended may be good again by now: somebody has signed in, here or in another tab.
        if (!(await this.callbacks.signInAgain()) && !this.accepted) return this.callbacks.stateChanged({ is: "refused", why: reason });
        if (!this.stopped) this.retry();
        return;
      case 4409:
        return this.callbacks.stateChanged({ is: "taken-over" });
    }
    if (this.lostAt === 0) this.lostAt = performance.now();
    // Whether there is no such session is asked as well: the server may not know another machine's yet.
    if (opened && code !== NOT_FOUND) return this.retry();
    const verdict = await this.callbacks.diagnose(this.session);
    if (this.stopped) return;
    this.away = typeof verdict === "object" && "away" in verdict ? verdict.away : null;
    if (verdict === "retry" || this.away !== null) this.retry();
    else if (verdict === "ended") this.callbacks.stateChanged({ is: "ended", exit: null });
    else if (verdict === "missing") this.callbacks.stateChanged({ is: "missing" });
    else if (typeof verdict === "object" && "refused" in verdict) this.callbacks.stateChanged({ is: "refused", why: verdict.refused });
  }

  private retry(): void {
    const wait = delay(this.attempt, performance.now() - this.lostAt);
    this.attempt += 1;
    this.timer = window.setTimeout(this.retryNow, wait);
    this.callbacks.stateChanged({ is: "waiting", at: performance.now() + wait, away: this.away });
  }
}
