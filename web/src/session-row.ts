// A live session as a row of the list.

import { AnswerForm } from "./answer-form";
import { type Alert, alertText } from "./attention";
import { icon, iconButton, make, setDescription, setText, setTooltip } from "./dom";
import { commandOf, isPinned, labelTextsOf, lastFailure, nameOf, runningCommand, statusText, viewersOf } from "./format";
import { lastStatusText } from "./machine-text";
import type { Session } from "./messages";
import { addressOf } from "./route";
import { ago } from "./time";
import { doingText, isBlocked } from "./waiting";

export interface SessionRowActions {
  pin(id: string): void;
  kill(id: string): void;
  /** Types a line; false: that failed. */
  answer(id: string, line: string): Promise<boolean>;
}

/** What a fleet adds to a row. */
export interface RowPlace {
  /** The machine's name, where nothing else tells it. */
  machine: string;
  /** The machine is not heard: its sessions are as it has last told, and nobody can attach. */
  away: boolean;
  /** The machine lets nobody from here do more than look. */
  looksOnly: boolean;
}

export class SessionRow {
  readonly item: HTMLLIElement;
  readonly link: HTMLAnchorElement;
  private readonly name = make("span", "row-name");
  private readonly machine = make("span", "row-machine");
  private readonly active = make("span", "row-when");
  private readonly command = make("span", "row-command");
  private readonly status = make("span", "row-status");
  private readonly failure = make("span", "row-failure");
  private readonly labels = make("span", "labels");
  private readonly alert = make("span", "row-alert");
  private readonly doing = make("span", "row-doing");
  private readonly message = make("span", "row-message");
  private readonly answer: AnswerForm;
  private readonly pin: HTMLButtonElement;
  private readonly kill: HTMLButtonElement;
  private readonly buttons: HTMLElement;
  private away = false;

  constructor(id: string, actions: SessionRowActions) {
    const pinned = make("span", "row-pin", icon("pin"));
    const top = make("span", "row-top", this.name, this.machine, pinned, this.active);
    const middle = make("span", "row-middle", this.failure, this.command, this.labels);
    const bottom = make("span", "row-bottom", this.status, this.doing, this.alert);
    this.link = make("a", "row-link", top, middle, bottom, this.message);
    this.answer = new AnswerForm((line) => actions.answer(id, line));
    this.link.href = addressOf(id);
    this.pin = iconButton("pin", "quiet", () => actions.pin(id));
    this.kill = iconButton("close", "quiet danger", () => actions.kill(id));
    this.buttons = make("span", "row-actions", this.pin, this.kill);
    this.buttons.dataset["needs"] = "control";
    this.item = make("li", "row", this.link, this.buttons, this.answer.form);
  }

  /** Updates everything that depends on the session. */
  fill(session: Session, me: string, isCurrent: boolean, alert: Alert | undefined, { machine, away, looksOnly }: RowPlace): void {
    const { item, link } = this;
    const name = nameOf(session);
    item.dataset["status"] = session.status;
    item.toggleAttribute("data-pinned", isPinned(session));
    item.toggleAttribute("data-alert", alert !== undefined);
    item.dataset["doing"] = session.attention?.state ?? "unknown";
    this.away = away;
    item.toggleAttribute("data-away", away);
    if (away) link.setAttribute("aria-disabled", "true");
    else link.removeAttribute("aria-disabled");
    this.buttons.hidden = away || looksOnly;
    setText(this.machine, machine);
    setText(this.message, isBlocked(session) ? (session.attention?.message ?? "") : "");
    this.answer.show(isBlocked(session) && !away && !looksOnly, name);
    const failure = lastFailure(session);
    const facts = [
      away ? `${session.node ?? "its machine"} is offline: this is what it said last` : "",
      commandOf(session),
      `in ${session.cwd_now ?? session.cwd}`,
      failure === null ? "" : `the last command exited with ${failure}`,
      session.attention?.message ?? "",
      `started ${new Date(session.created_at).toLocaleString()}`,
      ...viewersOf(session.clients, me),
    ];
    setTooltip(link, ...facts.filter(Boolean));
    setText(this.name, name);
    setText(this.command, runningCommand(session) ?? session.title ?? commandOf(session));
    setText(this.failure, failure === null ? "" : `✗ ${failure}`);
    const labels = labelTextsOf(session);
    if (labels.join("\n") !== this.labels.dataset["all"]) {
      this.labels.dataset["all"] = labels.join("\n");
      this.labels.replaceChildren(...labels.map((label) => make("span", "label", label)));
    }
    setText(this.alert, alert === undefined ? "" : alertText(alert));
    setDescription(this.pin, isPinned(session) ? `Do not keep ${name} for good` : `Keep ${name} for good`);
    this.pin.setAttribute("aria-pressed", String(isPinned(session)));
    setDescription(this.kill, `End ${name}`);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    this.tick(session, me);
  }

  /** Updates what depends on the time only. */
  tick(session: Session, me: string): void {
    const now = Date.now();
    setText(this.active, ago(now - Date.parse(session.last_activity_at)));
    setTooltip(this.active, `last activity ${new Date(session.last_activity_at).toLocaleString()}`);
    const status = this.away ? lastStatusText(session) : statusText(session, me, now);
    const restarts = session.restarts ? ` · started ${session.restarts + 1} times` : "";
    setText(this.doing, session.attention === undefined || this.away ? "" : doingText(session.attention, now));
    // An alert takes the room of the number of starts and of "no client yet".
    const isShort = this.alert.textContent !== "" || this.doing.textContent !== "";
    setText(this.status, !isShort ? status + restarts : (status.split(", ")[0] ?? status));
  }
}
