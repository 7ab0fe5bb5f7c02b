// The bar that always says how the connection is.

import { byId, say } from "./dom";
import type { Link } from "./connection";
import type { SizePolicy, State } from "./messages";
import { count } from "./words";

/** What the bar shows. */
export interface Facts {
  link: Link;
  state: State | null;
  /** Bytes typed and not yet accepted. */
  waiting: number;
  /** The session's size, and the room that this window has. */
  size: { cols: number; rows: number };
  room: { cols: number; rows: number };
  mode: "rw" | "ro";
  policy: SizePolicy;
  /** Another client is in control. */
  controlled: boolean;
}

export interface Actions {
  retry(): void;
  fit(): void;
  takeControl(): void;
  /** Types into what was only looked at. */
  typeHere(): void;
}

/** Tone of the dot. */
type Tone = "good" | "busy" | "bad" | "over";

export class StatusBar {
  private readonly bar = byId("status");
  private readonly text = byId("status-text");
  private readonly countdown = byId("status-countdown");
  private readonly retry = byId<HTMLButtonElement>("status-retry");
  private readonly typing = byId("status-typing");
  private readonly clients = byId("status-clients");
  private readonly size = byId("status-size");
  private readonly fit = byId<HTMLButtonElement>("status-fit");
  private readonly type = byId<HTMLButtonElement>("status-type");
  private timer = 0;
  private controlled = false;

  constructor(actions: Actions) {
    this.retry.addEventListener("click", () => actions.retry());
    this.fit.addEventListener("click", () => (this.controlled ? actions.takeControl() : actions.fit()));
    this.type.addEventListener("click", () => actions.typeHere());
  }

  /** Nothing is open. */
  clear(): void {
    clearInterval(this.timer);
    this.bar.hidden = true;
  }

  /** Takes its place before the terminal measures what is left. */
  open(): void {
    this.bar.hidden = false;
  }

  show({ link, state, waiting, size, room, mode, policy, controlled }: Facts): void {
    clearInterval(this.timer);
    this.bar.hidden = false;
    const [tone, text] = describe(link);
    this.bar.dataset["tone"] = tone;
    const lost = link.is === "waiting" || (link.is === "connecting" && link.again);
    this.bar.toggleAttribute("data-away", lost);
    const watches = mode === "ro" && link.is === "attached";
    say(this.text, watches ? "Watching, cannot type" : text);
    this.type.hidden = !watches;
    this.retry.hidden = !lost;
    this.count(link);

    const away = lost || link.is === "connecting";
    const kept = waiting > 0 ? `typing is kept (${bytes(waiting)})` : "typing is kept";
    const held = waiting > 1024 ? `${bytes(waiting)} waiting for the program` : "";
    say(this.typing, mode === "ro" ? "" : away ? kept : link.is === "attached" ? held : "");

    const attached = link.is === "attached";
    say(this.clients, attached && state !== null ? count(state.active_connections, "client") : "");
    say(this.size, attached ? `${size.cols} × ${size.rows}` : "");
    const foreign = attached && (size.cols !== room.cols || size.rows !== room.rows);
    // The other policies' size is nobody's.
    this.controlled = controlled && policy === "latest";
    this.fit.hidden = mode === "ro" || policy !== "latest" || !attached || !(foreign || this.controlled);
    say(this.fit, this.controlled ? "Take control" : "Fit to this window");
    this.fit.title = this.controlled
      ? `Another client typed or came last, and the terminal has its size; here ${room.cols} × ${room.rows} fit`
      : `The terminal has another size; here ${room.cols} × ${room.rows} fit`;
  }

  private count(link: Link): void {
    const tell = () => {
      const seconds = link.is === "waiting" ? Math.ceil((link.at - performance.now()) / 1000) : 0;
      const soon = link.is === "waiting" || link.is === "connecting" ? "…" : "";
      say(this.countdown, seconds > 1 ? ` in ${seconds} s` : soon);
    };
    tell();
    if (link.is === "waiting") this.timer = window.setInterval(tell, 250);
  }
}

function describe(link: Link): [Tone, string] {
  switch (link.is) {
    case "connecting":
      return ["busy", link.again ? "Reconnecting" : "Connecting"];
    case "attached":
      return ["good", "Attached"];
    case "waiting":
      return ["busy", "Reconnecting"];
    case "ended":
      return ["over", "Ended"];
    case "taken-over":
      return ["bad", "Opened in another tab"];
    case "missing":
      return ["bad", "No such session"];
    case "refused":
      return ["bad", "Refused"];
  }
}

function bytes(n: number): string {
  return n < 1024 ? `${n} B` : `${Math.round(n / 1024)} KiB`;
}
