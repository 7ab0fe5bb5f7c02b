// The bar that always shows the state of the connection.

import type { ConnectionState } from "./connection";
import { byId, setText, setTooltip } from "./dom";
import { count, isPinned, stayText } from "./format";
import type { Session, SessionState, SizePolicy } from "./messages";

/** The contents of the bar. */
export interface StatusFacts {
  connectionState: ConnectionState;
  state: SessionState | null;
  /** Bytes of input that are not accepted yet. */
  waiting: number;
  /** For how many ms nothing was heard from the server, though it was asked; 0: all is well. */
  silence: number;
  /** The session's size, and the size for which this window has room. */
  size: { cols: number; rows: number };
  room: { cols: number; rows: number };
  mode: "rw" | "ro";
  policy: SizePolicy;
  /** The terminal is made to fit into the window. */
  zoomed: boolean;
  /** Another client is in control. */
  controlled: boolean;
}

export interface StatusBarActions {
  retry(): void;
  fit(): void;
  /** Makes the terminal fit into the window, or ends that. */
  zoom(): void;
  takeControl(): void;
  /** Attaches for writing to a session that is open view-only. */
  typeHere(): void;
}

/** The colour of the dot. */
type Tone = "good" | "busy" | "bad" | "over";

export class StatusBar {
  private readonly bar = byId("status");
  private readonly text = byId("status-text");
  private readonly countdown = byId("status-countdown");
  private readonly retry = byId<HTMLButtonElement>("status-retry");
  private readonly typing = byId("status-typing");
  private readonly stay = byId("status-stay");
  private readonly clients = byId("status-clients");
  private readonly size = byId("status-size");
  private readonly fit = byId<HTMLButtonElement>("status-fit");
  private readonly zoom = byId<HTMLButtonElement>("status-zoom");
  private readonly type = byId<HTMLButtonElement>("status-type");
  private timer = 0;
  private controlled = false;

  constructor(actions: StatusBarActions) {
    this.retry.addEventListener("click", () => actions.retry());
    this.fit.addEventListener("click", () => (this.controlled ? actions.takeControl() : actions.fit()));
    this.zoom.addEventListener("click", () => actions.zoom());
    this.type.addEventListener("click", () => actions.typeHere());
  }

  /** Hides the bar: no session is open. */
  clear(): void {
    clearInterval(this.timer);
    this.bar.hidden = true;
  }

  /** Shows an empty bar: the pane is empty. The sessions beside it keep their sizes. */
  blank(): void {
    clearInterval(this.timer);
    this.bar.hidden = false;
    this.bar.toggleAttribute("data-blank", true);
  }

  /** Shows the bar before the terminal measures the room that is left. */
  open(): void {
    this.bar.hidden = false;
    this.bar.removeAttribute("data-blank");
  }

  show({ connectionState, state, waiting, silence, size, room, mode, policy, zoomed, controlled }: StatusFacts): void {
    clearInterval(this.timer);
    this.open();
    const isSilent = connectionState.is === "attached" && silence > 0;
    const [tone, text]: [Tone, string] = isSilent
      ? ["busy", `Last heard ${Math.round(silence / 1000)} s ago`]
      : connectionText(connectionState);
    this.bar.dataset["tone"] = tone;
    const lost = connectionState.is === "waiting" || (connectionState.is === "connecting" && connectionState.again);
    this.bar.toggleAttribute("data-away", lost);
    this.bar.toggleAttribute("data-silent", isSilent);
    const watches = mode === "ro" && connectionState.is === "attached" && !isSilent;
    setText(this.text, watches ? "View only, cannot type" : text);
    this.type.hidden = !watches;
    this.retry.hidden = !lost;
    this.count(connectionState);

    const away = lost || isSilent || connectionState.is === "connecting";
    const kept = waiting > 0 ? `typing is kept, not sent yet (${bytes(waiting)})` : "typing is kept";
    const held = waiting > 1024 ? `${bytes(waiting)} waiting for the program` : "";
    setText(this.typing, mode === "ro" ? "" : away ? kept : connectionState.is === "attached" ? held : "");

    const attached = connectionState.is === "attached";
    setText(this.clients, attached && state !== null ? count(state.active_connections, "client") : "");
    setText(this.size, attached ? `${size.cols} × ${size.rows}` : "");
    const foreign = attached && (size.cols !== room.cols || size.rows !== room.rows);
    this.zoom.hidden = !foreign;
    this.zoom.setAttribute("aria-pressed", String(zoomed));
    const larger = size.cols > room.cols || size.rows > room.rows;
    const how = mode === "ro" ? "Drag to move the view; Shift and drag selects." : "Drag with the middle button to move the view.";
    setTooltip(this.size, foreign && larger && !zoomed ? `Larger than this window, which follows the cursor. ${how}` : "");
    // Under the other policies no single client controls the size.
    this.controlled = controlled && policy === "latest";
    this.fit.hidden = mode === "ro" || policy !== "latest" || !attached || !(foreign || this.controlled);
    setText(this.fit, this.controlled ? "Take control" : "Fit to this window");
    const why = this.controlled ? "The terminal has the size of the client that typed or attached last." : "The terminal has another size.";
    setTooltip(this.fit, `${why} This window has room for ${room.cols} × ${room.rows}.`);
  }

  /** Says until when a live session stays once everybody has left. */
  showStay(session: Session | undefined): void {
    setText(this.stay, session === undefined ? "" : stayText(session));
    const keep = session === undefined || isPinned(session) ? "" : "To keep it for good, pin it: by the button above, or Alt+Shift+P.";
    setTooltip(this.stay, keep);
  }

  private count(connectionState: ConnectionState): void {
    const tell = () => {
      const seconds = connectionState.is === "waiting" ? Math.ceil((connectionState.at - performance.now()) / 1000) : 0;
      const soon = connectionState.is === "waiting" || connectionState.is === "connecting" ? "…" : "";
      setText(this.countdown, seconds > 1 ? ` in ${seconds} s` : soon);
    };
    tell();
    if (connectionState.is === "waiting") this.timer = window.setInterval(tell, 250);
  }
}

function connectionText(connectionState: ConnectionState): [Tone, string] {
  switch (connectionState.is) {
    case "connecting":
      return ["busy", connectionState.away ?? (connectionState.again ? "Reconnecting" : "Connecting")];
    case "attached":
      return ["good", "Attached"];
    case "waiting":
      return ["busy", connectionState.away ?? "Reconnecting"];
    case "ended":
      return ["over", "Ended"];
    case "taken-over":
      return ["bad", "Opened in another tab"];
    case "missing":
      return ["bad", "No such session"];
    case "signed-out":
      return ["bad", "Signed out"];
    case "refused":
      return ["bad", "Connection refused"];
  }
}

function bytes(n: number): string {
  return n < 1024 ? `${n} B` : `${Math.round(n / 1024)} KiB`;
}
