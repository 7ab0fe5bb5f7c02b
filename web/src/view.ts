// One open session: its terminal, its attachment and its connection, put together.

import { ApiError, getSession } from "./api";
import { newClientId } from "./client";
import { Connection, type Link, type Verdict } from "./connection";
import { make } from "./dom";
import { ended, lastScreen } from "./ending";
import type { Input } from "./input";
import { authorized } from "./login";
import { type BarKey, type Held, withHeld } from "./keys";
import type { Attached, Bytes, Session, SizePolicy, State } from "./messages";
import type { Facts } from "./status";
import { Attachment, type Effect } from "./protocol";
import { Screen } from "./terminal";
import { type End, endFrom } from "./words";

/** What the page hears from its open session. */
export interface Owner {
  attached(message: Attached): void;
  state(state: State): void;
  titled(title: string): void;
  /** The connection came to a state in which somebody must decide what is next. */
  stopped(link: Link, end: End | null, session: Session | null): void;
  /** The facts of the status bar changed. */
  facts(facts: Facts): void;
  /** Something was refused that concerns this session. */
  trouble(text: string): void;
  /** False: the page takes this key. */
  key(event: KeyboardEvent): boolean;
  /** The program wants this in the clipboard. */
  copies(text: string): void;
  points(target: string | null): void;
  found(index: number, count: number): void;
  /** Keys that are held down on the bar; they are let go. */
  held(): Held;
}

export class SessionView {
  private readonly frame: HTMLElement;
  private readonly screen: Screen;
  private readonly attachment: Attachment;
  private readonly connection: Connection;
  private link: Link = { is: "connecting", again: false };
  private state: State | null = null;
  private size: { cols: number; rows: number };
  private policy: SizePolicy = "latest";
  private closed = false;
  private frozen = false;
  /** Lines of the last screen that was fetched. */
  private last: number | null = null;
  /** It was shown live, so its last screen is here. */
  private drawn = false;
  /** It has ended, and how is known. */
  over = false;
  /** The size that the connection was opened with. */
  private asked = { cols: 0, rows: 0 };

  constructor(
    place: HTMLElement,
    readonly id: string,
    private client: string,
    readonly mode: "rw" | "ro",
    input: Input,
    private readonly owner: Owner,
    /** The session, if anything is known of it. */
    known: Session | null,
  ) {
    this.frame = make("div", "frame");
    place.replaceChildren(this.frame);
    this.attachment = new Attachment(input);
    this.screen = new Screen(this.frame, {
      typed: (text) => this.typed(text),
      bytes: (bytes) => this.send(bytes),
      room: (cols, rows) => {
        this.connection.run(this.attachment.resized(cols, rows));
        this.settle();
        this.tell();
      },
      titled: (title) => owner.titled(title),
      key: (event) => owner.key(event),
      copies: (text) => owner.copies(text),
      points: (target) => owner.points(target),
      found: (index, count) => owner.found(index, count),
    });
    if (mode === "ro") this.screen.lock();
    this.size = this.screen.room;
    this.connection = new Connection(id, client, mode, this.attachment, {
      link: (link) => this.linked(link),
      effects: (effects) => effects.forEach((effect) => this.execute(effect)),
      size: () => (this.asked = this.screen.room),
      ask: (session) => this.ask(session),
    });
    if (known !== null && known.ended_at !== null) {
      this.linked({ is: "ended", exit: null });
    } else {
      this.connection.open();
      this.screen.focus();
      if (known === null) void this.look();
    }
  }

  focus(): void {
    this.screen.focus();
  }

  /** Tries to connect at once. */
  retry(): void {
    this.connection.now();
    this.screen.focus();
  }

  /** Attaches again beside the tab that took over. */
  async attachHere(): Promise<void> {
    this.client = await newClientId();
    this.connection.reopenAs(this.client);
    this.screen.focus();
  }

  /** Makes this window the one whose size the terminal has. */
  takeControl(): void {
    this.connection.again();
    this.screen.focus();
  }

  /** Another client is in control. */
  get isControlled(): boolean {
    return this.state?.clients.some(({ client, controller }) => controller && client !== this.client) ?? false;
  }

  /** What the find bar searches. */
  get searched(): Screen {
    return this.screen;
  }

  copy(): void {
    this.screen.copy();
  }

  press(key: BarKey): void {
    this.screen.press(key, this.owner.held());
    this.screen.focus();
  }

  paste(text: string): void {
    this.screen.paste(text);
    this.screen.focus();
  }

  /** Asks for the size that fits this window. */
  fit(): void {
    const { cols, rows } = this.screen.room;
    this.connection.run(this.attachment.resized(cols, rows));
    this.screen.focus();
  }

  close(): void {
    this.closed = true;
    this.connection.stop();
    this.screen.dispose();
    this.frame.remove();
  }

  private typed(text: string): void {
    // Pastes and reports let no key go.
    const said = [...text].length === 1 ? withHeld(text, this.owner.held()) : text;
    this.send(new TextEncoder().encode(said));
  }

  private send(bytes: Bytes): void {
    if (this.frozen || this.mode === "ro") return;
    const effects = this.attachment.typed(bytes);
    if (effects === null) {
      this.owner.trouble(
        this.attachment.attached
          ? "The program takes no more input at the moment; what was typed or pasted last was dropped."
          : "Too much was typed while disconnected; what was typed last was dropped.",
      );
    } else this.connection.run(effects);
    this.tell();
  }

  private execute(effect: Effect): void {
    switch (effect.do) {
      case "reset":
        return this.screen.reset();
      case "draw": {
        const { bytes, mark, replay } = effect;
        return this.screen.draw(bytes, replay, () => {
          if (!this.closed) this.connection.run(this.attachment.rendered(mark));
        });
      }
      case "resize":
        this.size = { cols: effect.cols, rows: effect.rows };
        this.screen.resize(effect.cols, effect.rows);
        return this.tell();
      case "attached": {
        const { session } = effect.message;
        const { status, active_connections, destroy_at, clients } = session;
        this.state ??= { type: "state", status, active_connections, destroy_at, clients };
        this.policy = session.size_policy;
        this.client = effect.message.client;
        this.drawn = true;
        this.owner.attached(effect.message);
        const { cols, rows } = this.screen.room;
        if (cols !== this.asked.cols || rows !== this.asked.rows) {
          // The window changed while the connection was being made.
          this.connection.run(this.attachment.resized(cols, rows));
        }
        return this.tell();
      }
      case "state":
        this.state = effect.message;
        this.owner.state(effect.message);
        return this.tell();
      case "refused":
        return this.owner.trouble(effect.message.message);
      case "send":
      case "exit":
      case "restart":
        // The connection's own.
        return;
    }
  }

  private linked(link: Link): void {
    if (this.closed) return;
    this.link = link;
    this.tell();
    switch (link.is) {
      case "ended":
        this.freeze();
        if (link.exit !== null) this.ended(link, link.exit);
        else void this.tellEnd(link);
        return;
      case "missing":
      case "refused":
        this.freeze();
        return this.owner.stopped(link, null, null);
      case "taken-over":
        return this.owner.stopped(link, null, null);
    }
  }

  private freeze(): void {
    this.frozen = true;
    this.screen.freeze();
  }

  /** The server says that it is over, or nearly: finds out how it ended. */
  private async tellEnd(link: Link): Promise<void> {
    try {
      const session = await ended(this.id, () => !this.closed);
      if (session === null) return;
      if (!this.drawn) await this.drawLast(session);
      if (!this.closed) this.ended(link, endFrom(session), session);
    } catch {
      if (!this.closed) this.ended(link, { code: null, signal: null, reason: null });
    }
  }

  private ended(link: Link, end: End, session: Session | null = null): void {
    this.over = true;
    this.owner.stopped(link, end, session);
  }

  /** Shows what an ended session showed last, if that is known. */
  private async drawLast(session: Session): Promise<void> {
    const lines = await lastScreen(this.id);
    if (this.closed || lines === null) return;
    this.size = { cols: session.cols, rows: session.rows };
    this.last = lines.length;
    this.settle();
    const bytes = new TextEncoder().encode(`${lines.join("\r\n")}\x1b[m`);
    this.screen.draw(bytes, true, () => {});
  }

  /** Nothing is known of this session: the server's refusal takes seconds to arrive on the
      WebSocket, and an answer to a question does not. */
  private async look(): Promise<void> {
    const verdict = await this.ask(this.id);
    if (this.closed || this.link.is !== "connecting" || (verdict !== "ended" && verdict !== "missing")) return;
    this.connection.stop();
    this.linked(verdict === "ended" ? { is: "ended", exit: null } : { is: "missing" });
  }

  /** Fits what has ended into the room that there is now. */
  private settle(): void {
    if (!this.frozen) return;
    if (this.last === null) return this.screen.reveal();
    const rows = Math.max(1, Math.min(this.last, this.screen.room.rows));
    this.screen.resize(this.size.cols, rows);
  }

  private async ask(id: string): Promise<Verdict> {
    try {
      const session = await authorized(() => getSession(id));
      return session.ended_at === null ? "retry" : "ended";
    } catch (error) {
      if (!(error instanceof ApiError) || error.passing) return "retry";
      if (error.status === 404) return "missing";
      if (error.status === 403) return { refused: error.message };
      return "retry";
    }
  }

  private tell(): void {
    if (this.closed) return;
    const { link, state, size } = this;
    const { room } = this.screen;
    const foreign = size.cols !== room.cols || size.rows !== room.rows;
    this.frame.classList.toggle("foreign", link.is === "attached" && foreign);
    this.owner.facts({
      link,
      state,
      size,
      room,
      mode: this.mode,
      policy: this.policy,
      controlled: this.isControlled,
      waiting: this.attachment.input.waiting,
    });
  }
}
