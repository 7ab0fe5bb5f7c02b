// The dialog that makes a token.

import { createToken, type NewToken } from "./api";
import { submitDialog } from "./dialog-form";
import { byId } from "./dom";
import { parseLabels } from "./labels";
import { authorized } from "./login";
import type { Role, Token } from "./messages";
import { fillSelect } from "./select-options";

const ROLES: [Role, string][] = [
  ["viewer", "viewer: looks on"],
  ["controller", "controller: types, starts and ends sessions"],
  ["admin", "admin: manages the server too"],
];
const SCOPES: [string, string][] = [
  ["all", "all sessions"],
  ["sessions", "some sessions…"],
  ["labels", "sessions with labels…"],
  ["own", "the sessions that it starts"],
];
/** How long it lasts, in seconds; empty: for ever. */
const LASTS: [string, string][] = [
  ["28800", "in 8 hours"],
  ["604800", "in 7 days"],
  ["2592000", "in 30 days"],
  ["31536000", "in a year"],
  ["", "never, until it is removed"],
];

const field = (id: string) => byId<HTMLInputElement>(`token-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`token-${id}`);

/** Shows the dialog and makes the token; null if the user cancels. */
export async function makeToken(): Promise<(Token & { token: string }) | null> {
  const scope = choice("scope");
  fillSelect(choice("role"), ROLES, "controller");
  fillSelect(scope, SCOPES, "all");
  fillSelect(choice("expires"), LASTS, "2592000");
  for (const id of ["name", "sessions", "labels"]) field(id).value = "";
  const show = () => {
    for (const id of ["sessions", "labels"]) byId(`token-${id}-field`).hidden = scope.value !== id;
  };
  scope.onchange = show;
  show();
  let made: (Token & { token: string }) | null = null;
  const answer = submitDialog("token", async () => {
    const { value } = choice("expires");
    const wanted: NewToken = {
      name: field("name").value.trim(),
      role: choice("role").value as Role,
      expires_s: value === "" ? null : Number(value),
    };
    if (wanted.name === "") throw new Error("The token needs a name. It stands in the history of sessions.");
    if (scope.value === "sessions") wanted.sessions = names(field("sessions").value);
    if (scope.value === "labels") wanted.labels = parseLabels(field("labels").value);
    if (scope.value === "own") wanted.own = true;
    if (wanted.sessions?.length === 0) throw new Error("Name the sessions that it may see.");
    if (wanted.labels !== undefined && Object.keys(wanted.labels).length === 0) throw new Error("Name the labels of the sessions that it may see.");
    made = await authorized(() => createToken(wanted));
  });
  field("name").focus();
  return (await answer) ? made : null;
}

const names = (text: string): string[] => text.split(",").map((name) => name.trim()).filter(Boolean);
