// The open session: its terminal, its attachment and its connection.

import { ApiError, getSession, whoAmI } from "./api";
import { Attachment, type Effect } from "./attachment";
import { newClientId } from "./client-id";
import { Connection, type ConnectionState, type Diagnosis } from "./connection";
import { make } from "./dom";
import { FileDrop } from "./file-drop";
import { type SessionEnd, sessionEnd } from "./format";
import type { InputBuffer } from "./input-buffer";
import { type BarKey, type HeldModifiers, withHeld } from "./key-sequences";
import { authorized } from "./login";
import { isLooking, watchLooking } from "./looking";
import type { Attached, Bytes, Session, SessionState, SizePolicy } from "./messages";
import { lastScreen, waitForEnd } from "./session-end";
import type { StatusFacts } from "./status-bar";
import { TerminalView } from "./terminal";

/** What the server calls every client of a session that it shows to a share link. */
const NAMELESS = "somebody";

/** What the open session tells the page. */
export interface SessionViewCallbacks {
  attached(message: Attached): void;
  state(state: SessionState): void;
  titleChanged(title: string): void;
  /** The connection stopped, and the user must decide what is next. */
  stopped(connectionState: ConnectionState, end: SessionEnd | null, session: Session | null): void;
  /** The contents of the status bar changed. */
  facts(facts: StatusFacts): void;
  /** The server refused something, or input was dropped. */
  trouble(text: string): void;
  /** False: the page handles this key, and the program does not get it. */
  key(event: KeyboardEvent): boolean;
  /** The program wants to copy this text to the clipboard. */
  copyRequested(text: string): void;
  linkHovered(target: string | null): void;
  searchResults(index: number, count: number): void;
  /** The user asks for what is in the clipboard. */
  pasteRequested(): void;
  /** Returns the modifiers held down on the key bar, and releases them. */
  takeHeld(): HeldModifiers;
}

/** What a view is opened with. */
export interface SessionViewSetup {
  container: HTMLElement;
  id: string;
  /** This tab's client id. */
  client: string;
  mode: "rw" | "ro";
  input: InputBuffer;
  callbacks: SessionViewCallbacks;
  /** The session, if the page knows it already. */
  known: Session | null;
  /** The keyboard goes to its terminal at once. */
  takesFocus: boolean;
  /** Files may be put into its directory. */
  takesFiles: boolean;
  /** Why the session's machine may be out of reach, after this answer; null: that is not the reason. */
  away(problem: ApiError): Promise<string | null>;
  /** The session was started on another machine a moment ago: this server may not know it yet. */
  isNew(): boolean;
}

export class SessionView {
  readonly id: string;
  readonly mode: "rw" | "ro";
  private client: string;
  private readonly callbacks: SessionViewCallbacks;
  private readonly away: SessionViewSetup["away"];
  private readonly isNew: SessionViewSetup["isNew"];
  private readonly frame: HTMLElement;
  private readonly terminal: TerminalView;
  private readonly attachment: Attachment;
  private readonly connection: Connection;
  private connectionState: ConnectionState = { is: "connecting", again: false, away: null };
  private state: SessionState | null = null;
  private size: { cols: number; rows: number };
  private policy: SizePolicy = "latest";
  private closed = false;
  private frozen = false;
  /** How many lines of the last screen were fetched. */
  private lastScreenLines: number | null = null;
  /** The session was attached here, so the terminal shows its last screen already. */
  private shownLive = false;
  /** The session has ended, and the page has said how. */
  over = false;
  private readonly fileDrop: FileDrop | null = null;
  private readonly unwatch = watchLooking((looking) => this.connection.run(this.attachment.looked(looking)));
  /** For how many ms nothing was heard from the server, though it was asked. */
  private silence = 0;
  /** The size with which the connection was opened. */
  private requestedSize = { cols: 0, rows: 0 };

  constructor({ container, id, client, mode, input, callbacks, known, takesFocus, takesFiles, away, isNew }: SessionViewSetup) {
    this.id = id;
    this.client = client;
    this.mode = mode;
    this.callbacks = callbacks;
    this.away = away;
    this.isNew = isNew;
    this.frame = make("div", "frame");
    container.replaceChildren(this.frame);
    this.attachment = new Attachment(input);
    this.terminal = new TerminalView(this.frame, {
      typed: (text) => this.typed(text),
      bytes: (bytes) => this.send(bytes),
      room: (cols, rows) => {
        this.connection.run(this.attachment.resized(cols, rows));
        this.fitEnded();
        this.reportFacts();
      },
      titleChanged: (title) => callbacks.titleChanged(title),
      key: (event) => callbacks.key(event),
      copyRequested: (text) => callbacks.copyRequested(text),
      linkHovered: (target) => callbacks.linkHovered(target),
      searchResults: (index, count) => callbacks.searchResults(index, count),
      roundTrip: () => this.connection.roundTrip,
      paste: mode === "ro" ? null : () => callbacks.pasteRequested(),
      trouble: (text) => callbacks.trouble(text),
    });
    if (mode === "ro") this.terminal.lookOn();
    if (mode === "rw" && takesFiles) {
      this.fileDrop = new FileDrop(this.frame, id, {
        paste: (text) => this.paste(text),
        trouble: (text) => callbacks.trouble(text),
      });
    }
    this.size = this.terminal.room;
    this.connection = new Connection(id, client, mode, this.attachment, {
      stateChanged: (state) => this.connectionChanged(state),
      effects: (effects) => effects.forEach((effect) => this.execute(effect)),
      silent: (ms) => {
        this.silence = ms;
        this.reportFacts();
      },
      size: () => (this.requestedSize = this.terminal.room),
      diagnose: (session) => this.diagnose(session),
      signInAgain: () => this.signInAgain(),
    });
    if (known !== null && known.ended_at !== null) {
      this.connectionChanged({ is: "ended", exit: null });
    } else {
      this.connection.open();
      if (takesFocus) this.terminal.focus();
      if (known === null) void this.lookUp();
    }
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Connects now instead of later. */
  retry(): void {
    this.connection.retryNow();
    this.terminal.focus();
  }

  /** Attaches again under a new client id, beside the tab that took over. */
  async attachHere(): Promise<void> {
    this.client = await newClientId();
    this.connection.reopenAs(this.client);
    this.terminal.focus();
  }

  /** Puts this client in control: the terminal takes the size of this window. */
  takeControl(): void {
    this.connection.takeControl();
    this.terminal.focus();
  }

  /** Another client is in control. */
  get isControlled(): boolean {
    const controller = this.state?.clients.find((one) => one.controller)?.client;
    // A share link is not told who is attached: everybody is NAMELESS, this client too.
    return controller !== undefined && controller !== this.client && controller !== NAMELESS;
  }

  /** The terminal that the find bar searches. */
  get searched(): TerminalView {
    return this.terminal;
  }

  /** What the shell's last command has printed; null if the shell does not mark its commands. */
  lastOutput(): string | null {
    return this.terminal.commands.lastOutput();
  }

  copy(): void {
    this.terminal.copy();
  }

  press(key: BarKey): void {
    this.terminal.press(key, this.callbacks.takeHeld());
    this.terminal.focus();
  }

  paste(text: string): void {
    this.terminal.paste(text);
    this.terminal.focus();
  }

  /** Requests the size for which this window has room. */
  fit(): void {
    const { cols, rows } = this.terminal.room;
    this.connection.run(this.attachment.resized(cols, rows));
    this.terminal.focus();
  }

  /** Makes a terminal of another size fit into this window, or shows a part of it in full size. */
  zoom(): void {
    this.terminal.setZoomed(!this.terminal.isZoomed);
    this.reportFacts();
    this.terminal.focus();
  }

  close(): void {
    this.closed = true;
    this.unwatch();
    this.connection.stop();
    this.fileDrop?.dispose();
    this.terminal.dispose();
    this.frame.remove();
  }

  private typed(text: string): void {
    // Only a single character releases the modifiers: pastes and the terminal's reports are longer.
    const keys = [...text].length === 1 ? withHeld(text, this.callbacks.takeHeld()) : text;
    if (!this.frozen && this.connectionState.is === "attached") this.terminal.expectEcho(keys);
    this.send(new TextEncoder().encode(keys));
  }

  private send(bytes: Bytes): void {
    if (this.frozen || this.mode === "ro") return;
    const effects = this.attachment.typed(bytes);
    if (effects === null) {
      this.callbacks.trouble(
        this.attachment.attached
          ? "The program does not read its input at the moment. What was typed or pasted last was dropped."
          : "Too much was typed while disconnected. What was typed last was dropped.",
      );
    } else this.connection.run(effects);
    this.reportFacts();
  }

  private execute(effect: Effect): void {
    switch (effect.do) {
      case "reset":
        return this.terminal.reset();
      case "draw": {
        const { bytes, mark, replay } = effect;
        return this.terminal.draw(bytes, replay, () => {
          if (!this.closed) this.connection.run(this.attachment.rendered(mark));
        });
      }
      case "resize":
        this.size = { cols: effect.cols, rows: effect.rows };
        this.terminal.resize(effect.cols, effect.rows);
        if (!this.isForeign) this.terminal.setZoomed(false);
        return this.reportFacts();
      case "attached": {
        const { session, scrollback_lines } = effect.message;
        if (scrollback_lines !== undefined) this.terminal.boundScrollback(scrollback_lines);
        const { status, active_connections, destroy_at, clients } = session;
        this.state ??= { type: "state", status, active_connections, destroy_at, clients };
        this.policy = session.size_policy;
        this.client = effect.message.client;
        this.shownLive = true;
        this.connection.run(this.attachment.looked(isLooking()));
        this.callbacks.attached(effect.message);
        const { cols, rows } = this.terminal.room;
        if (cols !== this.requestedSize.cols || rows !== this.requestedSize.rows) {
          // The window was resized while the connection was being made.
          this.connection.run(this.attachment.resized(cols, rows));
        }
        return this.reportFacts();
      }
      case "state":
        this.state = effect.message;
        this.callbacks.state(effect.message);
        return this.reportFacts();
      case "refused":
        return this.callbacks.trouble(effect.message.message);
      case "send":
      case "exit":
      case "pong":
      case "restart":
        // The connection handles these itself.
        return;
    }
  }

  private connectionChanged(connectionState: ConnectionState): void {
    if (this.closed) return;
    this.connectionState = connectionState;
    this.reportFacts();
    switch (connectionState.is) {
      case "ended":
        this.freeze();
        if (connectionState.exit !== null) this.ended(connectionState, connectionState.exit);
        else void this.fetchEnd(connectionState);
        return;
      case "missing":
      case "refused":
        this.freeze();
        return this.callbacks.stopped(connectionState, null, null);
      case "taken-over":
        return this.callbacks.stopped(connectionState, null, null);
    }
  }

  private freeze(): void {
    this.frozen = true;
    this.terminal.freeze();
  }

  /** The session has ended or is about to: asks the server how. */
  private async fetchEnd(connectionState: ConnectionState): Promise<void> {
    try {
      const session = await waitForEnd(this.id, () => !this.closed);
      if (session === null) return;
      if (!this.shownLive) await this.drawLastScreen(session);
      if (!this.closed) this.ended(connectionState, sessionEnd(session), session);
    } catch {
      if (!this.closed) this.ended(connectionState, { code: null, signal: null, reason: null });
    }
  }

  private ended(connectionState: ConnectionState, end: SessionEnd, session: Session | null = null): void {
    this.over = true;
    this.callbacks.stopped(connectionState, end, session);
  }

  /** Draws the last screen of an ended session, if the server has it. */
  private async drawLastScreen(session: Session): Promise<void> {
    const lines = await lastScreen(this.id);
    if (this.closed || lines === null) return;
    this.size = { cols: session.cols, rows: session.rows };
    this.lastScreenLines = lines.length;
    this.fitEnded();
    const bytes = new TextEncoder().encode(`${lines.join("\r\n")}\x1b[m`);
    this.terminal.draw(bytes, true, () => {});
  }

  /** Checks over HTTP whether an unknown session exists: the answer is immediate, while the refusal of
      the WebSocket takes seconds. */
  private async lookUp(): Promise<void> {
    const verdict = await this.diagnose(this.id);
    if (this.closed || this.connectionState.is !== "connecting" || (verdict !== "ended" && verdict !== "missing")) return;
    this.connection.stop();
    this.connectionChanged(verdict === "ended" ? { is: "ended", exit: null } : { is: "missing" });
  }

  /** Fits the last screen of an ended session into the window. */
  private fitEnded(): void {
    if (!this.frozen) return;
    if (this.lastScreenLines === null) return this.terminal.reveal();
    const rows = Math.max(1, Math.min(this.lastScreenLines, this.terminal.room.rows));
    this.terminal.resize(this.size.cols, rows);
  }

  private async diagnose(id: string): Promise<Diagnosis> {
    try {
      const session = await authorized(() => getSession(id));
      return session.ended_at === null ? "retry" : "ended";
    } catch (error) {
      if (!(error instanceof ApiError)) return "retry";
      const away = await this.away(error);
      if (away !== null) return { away };
      if (error.passing) return "retry";
      if (error.status === 404) return this.isNew() ? "retry" : "missing";
      if (error.status === 403) return { refused: error.message };
      return "retry";
    }
  }

  private async signInAgain(): Promise<boolean> {
    try {
      await whoAmI();
      return false;
    } catch (error) {
      if (!(error instanceof ApiError) || !error.unauthorized) return error instanceof ApiError && error.passing;
    }
    this.connectionChanged({ is: "signed-out" });
    await authorized(whoAmI);
    return true;
  }

  /** The terminal has another size than this window has room for. */
  private get isForeign(): boolean {
    const { room } = this.terminal;
    return this.size.cols !== room.cols || this.size.rows !== room.rows;
  }

  private reportFacts(): void {
    if (this.closed) return;
    const { connectionState, state, size } = this;
    const { room } = this.terminal;
    this.frame.classList.toggle("foreign", connectionState.is === "attached" && this.isForeign);
    const larger = size.cols > room.cols || size.rows > room.rows;
    this.frame.classList.toggle("movable", this.mode === "ro" && larger && !this.terminal.isZoomed && !this.frozen);
    this.callbacks.facts({
      connectionState,
      state,
      size,
      room,
      mode: this.mode,
      policy: this.policy,
      zoomed: this.terminal.isZoomed,
      controlled: this.isControlled,
      waiting: this.attachment.input.waiting,
      silence: this.silence,
    });
  }
}
