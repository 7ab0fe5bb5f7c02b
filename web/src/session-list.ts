// The list of live sessions in the side bar: one list, or in a fleet a list of each machine.

import type { Attention } from "./attention";
import { byId, setText } from "./dom";
import type { Fleet } from "./fleet";
import { matchesSearch } from "./format";
import type { LiveSessions } from "./live-sessions";
import { fleetList, type FleetList, isUnfolded, parseFoldings, shownSessions } from "./machine-groups";
import { MachineList } from "./machine-list";
import { directoryText } from "./machine-text";
import type { Session } from "./messages";
import { arranged, moved, parseOrder } from "./session-order";
import type { RowPlace } from "./session-row";
import { SessionRows, type SessionRowsCallbacks } from "./session-rows";
import { loadSetting, saveSetting } from "./storage";
import { blockedFirst } from "./waiting";

/** The user's order of the sessions. */
const ORDER = "stayd-order";
/** The machines that the user has folded and unfolded. */
const FOLDINGS = "stayd-machines";
/** Places of sessions that are in another list are kept, so many at most. */
const PLACES_MAX = 1000;

export interface SessionListCallbacks extends Pick<SessionRowsCallbacks, "pin" | "kill" | "answer"> {
  /** The search was closed, with a session to open or without. */
  searchClosed(session: Session | undefined): void;
  /** Starts a shell on a machine of the fleet. */
  startOn(machine: string): void;
  /** A machine was folded or unfolded. */
  folded(): void;
}

export class SessionList {
  /** This tab's client id. */
  me = "";
  private readonly list = byId("sessions");
  private readonly search = byId<HTMLInputElement>("search");
  private readonly empty = byId("sessions-empty");
  private readonly hint = byId("start-hint");
  private readonly count = byId("live-count");
  private readonly directory = byId("directory");
  private readonly rows: SessionRows;
  private readonly machines: MachineList;
  private current: string | null = null;
  private order = parseOrder(loadSetting(ORDER));
  private readonly foldings = parseFoldings(loadSetting(FOLDINGS));

  constructor(
    private readonly liveSessions: LiveSessions,
    private readonly fleet: Fleet,
    attention: Attention,
    private readonly callbacks: SessionListCallbacks,
  ) {
    this.search.addEventListener("input", () => this.show());
    this.search.addEventListener("keydown", (event) => this.searchKey(event));
    const ofRows = (namesMachine: boolean): SessionRowsCallbacks => ({
      me: () => this.me,
      current: () => this.current,
      place: (session) => this.place(session, namesMachine),
      pin: (session) => callbacks.pin(session),
      kill: (session) => callbacks.kill(session),
      answer: (session, line) => callbacks.answer(session, line),
      moved: (sessions, id, before) => this.move(sessions, id, before),
    });
    this.rows = new SessionRows(this.list, attention, ofRows(true));
    this.machines = new MachineList(byId("machines"), attention, {
      ...ofRows(false),
      fold: (machine, unfolded) => this.fold(machine, unfolded),
      start: (machine) => callbacks.startOn(machine),
      show: () => this.show(),
    });
    setInterval(() => this.tick(), 1000);
  }

  /** Marks the open session. */
  select(id: string | null): void {
    this.current = id;
    this.show();
  }

  /** The session `step` places after the open one. */
  neighbour(step: 1 | -1): Session | undefined {
    const list = this.grouped("");
    const sessions = list === null ? this.arranged() : shownSessions(list).filter((session) => !this.fleet.isAway(session));
    const at = sessions.findIndex((session) => session.id === this.current);
    if (at < 0) return sessions[step > 0 ? 0 : sessions.length - 1];
    return sessions[(at + step + sessions.length) % sessions.length];
  }

  /** Moves the keyboard focus to the list. */
  focus(): void {
    const lists = byId("lists");
    const link = lists.querySelector<HTMLElement>("a[aria-current]") ?? lists.querySelector<HTMLElement>("#sessions a, #machines button");
    (link ?? byId("new")).focus();
  }

  /** Whether the sessions of a machine are shown. */
  isUnfolded(machine: string): boolean {
    return this.fleet.state === null || isUnfolded(this.foldings, this.fleet.state, machine);
  }

  show(): void {
    const { sessions } = this.liveSessions;
    const list = this.grouped(this.searched);
    const flat = list === null ? this.matching() : list.asking;
    this.rows.show(flat);
    this.machines.show(list?.groups ?? [], Date.now());
    const isEmpty = flat.length === 0 && (list === null || list.groups.length === 0);
    const total = list === null ? sessions.length : list.total;
    this.empty.hidden = !isEmpty;
    setText(this.empty, total === 0 ? "No sessions yet." : "No session matches.");
    setText(this.count, total === 0 ? "" : String(total));
    this.search.hidden = sessions.length === 0 && list === null;
    this.hint.hidden = sessions.length === 0;
    this.showDirectory();
  }

  /** Puts a session before another one of its list, or at the end, and remembers the order. */
  private move(sessions: Session[], id: string, before: string | null): void {
    const all = this.fleet.state === null ? this.liveSessions.sessions : sessions;
    const ids = arranged(all, this.order).map((session) => session.id);
    if (!ids.includes(id)) return;
    const here = new Set(ids);
    const elsewhere = this.fleet.state === null ? [] : this.order.filter((one) => !here.has(one)).slice(-PLACES_MAX);
    this.order = [...elsewhere, ...moved(ids, id, before)];
    saveSetting(ORDER, JSON.stringify(this.order));
    this.show();
  }

  private fold(machine: string, unfolded: boolean): void {
    this.foldings[machine] = unfolded;
    saveSetting(FOLDINGS, JSON.stringify(this.foldings));
    this.show();
    this.callbacks.folded();
  }

  private place(session: Session, namesMachine: boolean): RowPlace {
    const { fleet } = this;
    return { machine: namesMachine && fleet.state !== null ? (session.node ?? "") : "", away: fleet.isAway(session), looksOnly: fleet.looksOnly(session) };
  }

  private tick(): void {
    if (document.visibilityState !== "visible") return;
    this.rows.tick();
    this.machines.tick(Date.now());
    this.showDirectory();
  }

  private showDirectory(): void {
    const { state } = this.fleet;
    const text = state === null ? "" : directoryText(state, Date.now());
    this.directory.hidden = text === "";
    // Screen readers hear of it once, not every second.
    setText(byId("directory-lost"), text === "" ? "" : "The other machines are out of sight:");
    setText(byId("directory-heard"), text);
  }

  private get searched(): string {
    return this.search.value.trim();
  }

  /** The sessions by machine; null: there is no fleet. */
  private grouped(search: string): FleetList | null {
    const { state } = this.fleet;
    return state === null ? null : fleetList(state, this.liveSessions.sessions, this.foldings, this.order, search);
  }

  /** Those that ask something first, the others in the user's order. */
  private arranged(): Session[] {
    return blockedFirst(arranged(this.liveSessions.sessions, this.order));
  }

  /** The sessions that match the search. */
  private matching(): Session[] {
    return this.arranged().filter((session) => matchesSearch(session, this.searched));
  }

  private searchKey(event: KeyboardEvent): void {
    const list = this.grouped(this.searched);
    const [first] = list === null ? this.matching() : shownSessions(list).filter((session) => !this.fleet.isAway(session));
    if (event.key === "Escape" || (event.key === "Enter" && first !== undefined)) {
      event.preventDefault();
      this.search.value = "";
      this.show();
      this.callbacks.searchClosed(event.key === "Enter" ? first : undefined);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      byId("lists").querySelector<HTMLElement>("#sessions a, #machines .machine-toggle")?.focus();
    }
  }
}
