// What one may do, as the page needs it: what one may not do is not offered.

import type { Labels } from "./labels";
import type { Principal, Role } from "./messages";

/** The words of `data-needs` in `index.html`. */
export interface Rights {
  /** Sees more than the one session of a share link. */
  list: boolean;
  /** Types into sessions. */
  type: boolean;
  /** Names, changes, restarts and ends sessions. */
  control: boolean;
  /** Starts sessions. */
  create: boolean;
  /** Makes share links. */
  share: boolean;
  /** Removes the records of ended sessions. */
  purge: boolean;
  /** Manages tokens. */
  tokens: boolean;
}

/** Of somebody who is not known yet. */
export const NO_RIGHTS: Rights = { list: false, type: false, control: false, create: false, share: false, purge: false, tokens: false };

const RANK: Record<Role, number> = { viewer: 0, controller: 1, admin: 2 };

/** The rule of `src/rights/decision.rs` for sessions that one sees. A share link that may type is offered
    nothing but typing. */
export function rightsOf({ kind, role, scope }: Principal): Rights {
  const list = kind !== "share";
  const type = RANK[role] >= RANK.controller;
  const control = list && type;
  const purge = list && role === "admin";
  // What one creates must exist for one afterwards: a list of sessions has no place for another.
  const create = control && !(typeof scope === "object" && "sessions" in scope);
  return { list, type, control, create, share: control, purge, tokens: purge && scope === "all" };
}

/** The labels that a new session must have, to be in one's scope. */
export const scopeLabels = ({ scope }: Principal): Labels => (typeof scope === "object" && "labels" in scope ? scope.labels : {});

/** The one session of a share link. */
export function sharedSession({ kind, scope }: Principal): string | null {
  if (kind !== "share" || typeof scope !== "object" || !("sessions" in scope)) return null;
  return scope.sessions[0] ?? null;
}

/** Whom the server takes one for, in a few words for the header. */
export function whoText(principal: Principal): string {
  if (principal.kind === "share") return `Shared with you, ${principal.role === "viewer" ? "look only" : "you may type"}`;
  return principal.name === principal.role ? principal.name : `${principal.name} · ${principal.role}`;
}

/** What one may do, in a sentence. */
export function mayText({ kind, role, scope }: Principal): string {
  if (kind === "share") return role === "viewer" ? "You may look at this session, not type into it." : "You may look at this session and type into it.";
  const which = scope === "all" ? "all sessions" : scope === "own" ? "your own sessions" : "some sessions";
  switch (role) {
    case "viewer":
      return `You may look at ${which}, and change nothing.`;
    case "controller":
      return `You may use ${which}: type, start, change and end them.`;
    case "admin":
      return scope === "all" ? "You may do everything." : `You may do everything to ${which}.`;
  }
}

/** A sentence for the answer 403. `needs` is the least role that may do it. */
export function forbiddenText(needs: unknown): string {
  const role = typeof needs === "string" ? needs : "";
  return role === "" ? "Your sign-in does not allow this." : `Your sign-in does not allow this: it needs the role “${role}”.`;
}
