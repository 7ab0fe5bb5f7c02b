// Where a new session starts: here, on another machine of the fleet, or wherever there is room.

import type { NewSession } from "./api";
import { formatLabels, parseLabels } from "./labels";
import type { FleetState } from "./messages";

/** The values of the select. A machine's has a sign that is in no name. */
export const HERE = "";
export const ANY = "any";
export const BY_LABELS = "labels";
const machineValue = (name: string): string => `=${name}`;

/** The choices, as pairs of value and text. */
export function placeChoices({ self, nodes }: FleetState): [string, string][] {
  const own = nodes.find(({ name }) => name === self);
  const others = nodes.filter(({ name, state, gateway, rights }) => name !== self && state === "online" && !gateway && rights !== "viewer");
  const labels = (some: Record<string, string>) => (Object.keys(some).length === 0 ? "" : ` (${formatLabels(some)})`);
  return [
    // A gateway has no sessions of its own.
    ...(own?.gateway === true ? [] : [[HERE, `here, on ${self ?? ""}`] satisfies [string, string]]),
    [ANY, "on any machine, the one with the fewest sessions"],
    [BY_LABELS, "on a machine with these labels…"],
    ...others.map(({ name, labels: some }): [string, string] => [machineValue(name), `on ${name}${labels(some)}`]),
  ];
}

/** The value for a machine that is named; the first choice if that cannot be chosen. */
export function placeValue(fleet: FleetState, machine: string | null): string {
  const choices = placeChoices(fleet).map(([value]) => value);
  const wanted = machine === null || machine === fleet.self ? HERE : machineValue(machine);
  return choices.includes(wanted) ? wanted : (choices[0] ?? HERE);
}

/** The machine whose profiles can be chosen; null: this server's, which stand for those of any. */
export const machineOf = (value: string): string | null => (value.startsWith("=") ? value.slice(1) : null);

/** The fields of the request for a choice. */
export function placement(value: string, labels: string): Pick<NewSession, "node" | "node_labels"> {
  const machine = machineOf(value);
  if (machine !== null) return { node: machine };
  if (value === ANY) return { node: "any" };
  if (value !== BY_LABELS) return {};
  const wanted = parseLabels(labels);
  if (Object.keys(wanted).length === 0) throw new Error("Which labels must the machine have?");
  return { node_labels: wanted };
}
