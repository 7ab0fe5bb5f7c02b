// One open session: its terminal, its attachment and its connection, put together.

import { ApiError, getSession } from "./api";
import { newClientId } from "./client";
import { Connection, type Link, type Verdict } from "./connection";
import { make } from "./dom";
import type { Input } from "./input";
import { authorized } from "./login";
import type { Attached, Bytes, State } from "./messages";
import type { Facts } from "./status";
import { Attachment, type Effect } from "./protocol";
import { Screen } from "./terminal";
import type { End } from "./words";

/** What the page hears from its open session. */
export interface Owner {
  attached(message: Attached): void;
  state(state: State): void;
  titled(title: string): void;
  /** The connection came to a state in which somebody must decide what is next. */
  stopped(link: Link, end: End | null): void;
  /** The facts of the status bar changed. */
  facts(facts: Facts): void;
  /** Something was refused that concerns this session. */
  trouble(text: string): void;
  /** False: the page takes this key. */
  key(event: KeyboardEvent): boolean;
}

/** How often a session that is being ended is looked at. */
const ENDING_EVERY_MS = 1000;

export class SessionView {
  private readonly frame: HTMLElement;
  private readonly screen: Screen;
  private readonly attachment: Attachment;
  private readonly connection: Connection;
  private link: Link = { is: "connecting", again: false };
  private state: State | null = null;
  private size: { cols: number; rows: number };
  private closed = false;
  private frozen = false;
  /** The size that the connection was opened with. */
  private asked = { cols: 0, rows: 0 };

  constructor(
    place: HTMLElement,
    readonly id: string,
    client: string,
    input: Input,
    private readonly owner: Owner,
  ) {
    this.frame = make("div", "frame");
    place.replaceChildren(this.frame);
    this.attachment = new Attachment(input);
    this.screen = new Screen(this.frame, {
      typed: (bytes) => this.typed(bytes),
      room: (cols, rows) => {
        this.connection.run(this.attachment.resized(cols, rows));
        this.tell();
      },
      titled: (title) => owner.titled(title),
      key: (event) => owner.key(event),
    });
    this.size = this.screen.room;
    this.connection = new Connection(id, client, this.attachment, {
      link: (link) => this.linked(link),
      effects: (effects) => effects.forEach((effect) => this.execute(effect)),
      size: () => (this.asked = this.screen.room),
      ask: (session) => this.ask(session),
    });
    this.connection.open();
    this.screen.focus();
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
    this.connection.reopenAs(await newClientId());
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

  private typed(bytes: Bytes): void {
    if (this.frozen) return;
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
        const { bytes, mark } = effect;
        return this.screen.draw(bytes, () => {
          if (!this.closed) this.connection.run(this.attachment.rendered(mark));
        });
      }
      case "resize":
        this.size = { cols: effect.cols, rows: effect.rows };
        this.screen.resize(effect.cols, effect.rows);
        return this.tell();
      case "attached": {
        const { session } = effect.message;
        const { status, active_connections, destroy_at } = session;
        this.state ??= { type: "state", status, active_connections, destroy_at };
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
        if (link.exit !== null) this.owner.stopped(link, link.exit);
        else void this.tellEnd(link);
        return;
      case "missing":
      case "refused":
        this.freeze();
        return this.owner.stopped(link, null);
      case "taken-over":
        return this.owner.stopped(link, null);
    }
  }

  private freeze(): void {
    this.frozen = true;
    this.screen.freeze();
  }

  /** The server says that it is over, or nearly: finds out how it ended. */
  private async tellEnd(link: Link): Promise<void> {
    if (this.closed) return;
    try {
      const session = await authorized(() => getSession(this.id));
      if (this.closed) return;
      if (session.ended_at === null) {
        setTimeout(() => void this.tellEnd(link), ENDING_EVERY_MS);
        return;
      }
      const { exit_code: code, exit_signal: signal, end_reason: reason } = session;
      this.owner.stopped(link, { code, signal, reason });
    } catch {
      if (!this.closed) this.owner.stopped(link, { code: null, signal: null, reason: null });
    }
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
      waiting: this.attachment.input.waiting,
    });
  }
}
