// What the page says of the machines of a fleet.

import type { FleetState, Machine, Session } from "./messages";
import { duration } from "./time";

/** `last heard 40 s ago`. */
export function heardText(at: string | null, now: number): string {
  return at === null ? "never heard" : `last heard ${duration(now - Date.parse(at))} ago`;
}

/** The state of a machine, its load and its version, as far as they are known. */
export function machineText({ state, heard_at, load, cores, version }: Machine, now: number): string {
  const of = cores === null ? "" : `/${cores}`;
  const facts = [
    state === "online" ? "online" : `offline, ${heardText(heard_at, now)}`,
    state === "offline" || load === null ? "" : `load ${load.toFixed(load < 10 ? 1 : 0)}${of}`,
    version ?? "",
  ];
  return facts.filter(Boolean).join(" · ");
}

/** When the server last heard of the other machines, if it is cut off from them. */
export function directoryText({ connected, heard_at }: FleetState, now: number): string {
  return connected ? "" : `directory ${heardText(heard_at, now)}`;
}

/** Why a session of another machine is not attached at present. */
export function awayText(machine: string, since: string | null): string {
  const when = since === null ? "" : ` since ${new Date(since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })}`;
  return `${machine} is not reached${when}; trying again`;
}

/** The status that a session had when its machine was last heard. */
export const lastStatusText = ({ status }: Pick<Session, "status">): string => `was ${status.toLowerCase()}`;
