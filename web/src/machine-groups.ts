// The list of a fleet: who needs somebody at the top, then the machines, each with its sessions.

import { matchesSearch } from "./format";
import type { FleetState, Machine, Session } from "./messages";
import { arranged } from "./session-order";
import { blockedFirst, isBlocked } from "./waiting";

/** With more machines than this, all but this one are folded until the user unfolds one. */
const UNFOLDED_MAX = 10;

/** Which machines the user has unfolded (true) and folded (false). */
export type Foldings = Record<string, boolean>;

/** A machine with its sessions. */
export interface MachineGroup {
  machine: Machine;
  unfolded: boolean;
  /** Those that match the search, in the user's order. */
  sessions: Session[];
  /** How many live sessions it has; of some only their number is known. */
  count: number;
}

export interface FleetList {
  /** The sessions that ask somebody, the longest waiting first. */
  asking: Session[];
  groups: MachineGroup[];
  /** The number of live sessions of all machines, whatever the search. */
  total: number;
}

/** Whether the sessions of a machine are shown. */
export function isUnfolded(foldings: Foldings, { self, nodes }: Pick<FleetState, "self" | "nodes">, name: string): boolean {
  return foldings[name] ?? (name === self || nodes.length <= UNFOLDED_MAX);
}

/** The foldings that were stored. What makes no sense is left out. */
export function parseFoldings(text: string | null): Foldings {
  try {
    const stored: unknown = JSON.parse(text ?? "{}");
    if (typeof stored !== "object" || stored === null || Array.isArray(stored)) return {};
    return Object.fromEntries(Object.entries(stored).filter((entry): entry is [string, boolean] => typeof entry[1] === "boolean"));
  } catch {
    return {};
  }
}

/** The machines, this one first and then by name. A session whose machine the server has not told of yet
    stands for it. */
export function machinesOf({ self, nodes }: FleetState, sessions: readonly Session[]): Machine[] {
  const known = new Set(nodes.map(({ name }) => name));
  const all = [...nodes];
  for (const { node } of sessions) {
    if (node === undefined || known.has(node)) continue;
    known.add(node);
    all.push(strange(node));
  }
  return all.sort((a, b) => Number(b.name === self) - Number(a.name === self) || compare(a.name, b.name));
}

/** Groups the sessions. A search unfolds the machines that have what it looks for, and hides the others. */
export function fleetList(fleet: FleetState, sessions: readonly Session[], foldings: Foldings, order: readonly string[], search: string): FleetList {
  const machines = machinesOf(fleet, sessions);
  const away = new Set(machines.filter(({ state }) => state === "offline").map(({ name }) => name));
  // Nobody can answer a session of a machine that is away.
  const asks = (session: Session) => isBlocked(session) && !away.has(session.node ?? "");
  const found = search === "" ? sessions : sessions.filter((session) => matchesSearch(session, search) || matchesMachine(session.node ?? "", search));
  const byMachine = new Map<string, Session[]>();
  const counts = new Map<string, number>();
  const self = fleet.self ?? "";
  for (const { node = self } of sessions) counts.set(node, (counts.get(node) ?? 0) + 1);
  for (const session of found) {
    if (asks(session)) continue;
    const node = session.node ?? self;
    const group = byMachine.get(node);
    if (group === undefined) byMachine.set(node, [session]);
    else group.push(session);
  }
  const groups = machines.map((machine): MachineGroup => {
    const { name } = machine;
    const own = arranged(byMachine.get(name) ?? [], order);
    const unfolded = search === "" ? isUnfolded(foldings, fleet, name) : own.length > 0;
    // The list of this machine is complete, while of others only some sessions may be known.
    const count = Math.max(name === self ? 0 : (machine.live_sessions ?? 0), counts.get(name) ?? 0);
    return { machine, unfolded, sessions: own, count };
  });
  return {
    asking: blockedFirst(found.filter(asks)),
    groups: search === "" ? groups : groups.filter(({ machine, sessions: some }) => some.length > 0 || matchesMachine(machine.name, search)),
    total: groups.reduce((sum, { count }) => sum + count, 0),
  };
}

/** The sessions that the list shows, in its order. */
export function shownSessions({ asking, groups }: FleetList): Session[] {
  return [...asking, ...groups.flatMap(({ unfolded, sessions }) => (unfolded ? sessions : []))];
}

const matchesMachine = (name: string, search: string): boolean => search !== "" && name.includes(search.toLowerCase());

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A machine of which only its name is known. */
const strange = (name: string): Machine => ({
  name,
  self: false,
  state: "online",
  version: null,
  labels: {},
  live_sessions: null,
  max_sessions: null,
  load: null,
  cores: null,
  since: null,
  heard_at: null,
  gateway: false,
  rights: "controller",
});
