import assert from "node:assert/strict";
import { test } from "node:test";
import type { Principal, Session } from "../src/messages";
import { type PaletteActions, paletteChoices } from "../src/palette-choices";
import { forbiddenText, mayText, NO_RIGHTS, rightsOf, scopeLabels, sharedSession, whoText } from "../src/rights";
import { untilText } from "../src/time";

const principal = (change: Partial<Principal>): Principal => ({ name: "anna", kind: "token", role: "controller", scope: "all", expires_at: null, ...change });
const may = (change: Partial<Principal>) => Object.entries(rightsOf(principal(change))).filter(([, yes]) => yes).map(([word]) => word).join(" ");

test("rights follow from role, kind and scope as on the server", () => {
  assert.equal(may({ role: "viewer" }), "list");
  assert.equal(may({}), "list type control create share");
  assert.equal(may({ role: "admin" }), "list type control create share purge tokens");
  assert.equal(may({ role: "admin", scope: "own" }), "list type control create share purge");
  assert.equal(may({ scope: { labels: { team: "web" } } }), "list type control create share");
  assert.equal(may({ scope: { sessions: ["1"] } }), "list type control share");
  assert.equal(may({ kind: "share", role: "viewer", scope: { sessions: ["1"] } }), "");
  assert.equal(may({ kind: "share", scope: { sessions: ["1"] } }), "type");
});

test("what a principal sees is known", () => {
  assert.equal(sharedSession(principal({ kind: "share", scope: { sessions: ["1"] } })), "1");
  assert.equal(sharedSession(principal({ scope: { sessions: ["1"] } })), null);
  assert.deepEqual(scopeLabels(principal({ scope: { labels: { team: "web" } } })), { team: "web" });
  assert.deepEqual(scopeLabels(principal({ scope: "own" })), {});
});

test("one reads who one is", () => {
  assert.equal(whoText(principal({})), "anna · controller");
  assert.equal(whoText(principal({ kind: "share", role: "viewer" })), "Shared with you, look only");
  assert.equal(whoText(principal({ kind: "share" })), "Shared with you, you may type");
  assert.equal(mayText(principal({ role: "viewer", scope: "own" })), "You may look at your own sessions, and change nothing.");
  assert.match(forbiddenText("controller"), /needs the role “controller”\.$/);
  assert.equal(forbiddenText(undefined), "Your sign-in does not allow this.");
});

test("an end today has a time, another one a date too", () => {
  const now = new Date(2026, 5, 1, 12, 0);
  assert.doesNotMatch(untilText(new Date(2026, 5, 1, 23, 5).toISOString(), now), /2026/);
  assert.match(untilText(new Date(2026, 5, 2, 1, 0).toISOString(), now), /2026/);
});

test("the palette offers what one may do, and nothing else", () => {
  const session = { id: "1", name: "work", profile: null, command: ["sh"], cwd: "/", status: "ACTIVE", labels: {}, title: null, idle_timeout_s: 60 } as unknown as Session;
  const actions = {} as PaletteActions;
  const names = (who: Partial<Principal>, mode: "rw" | "ro") => {
    const rights = rightsOf(principal(who));
    return paletteChoices([session], { open: session, mode, controlled: false, read: false, hasOutput: false, rights }, actions).map(({ name }) => name);
  };
  const always = ["Settings", "Let screen readers read the terminal", "Who am I?", "Sign out"];
  const panes = ["One session", "Two sessions side by side", "Four sessions side by side"];
  const admin = names({ role: "admin" }, "rw");
  for (const name of ["New session", "Share work…", "Change work…", "End work…", "Tokens", "View only"]) assert.ok(admin.includes(name), name);
  assert.ok(!names({}, "rw").includes("Tokens"));
  assert.deepEqual(names({ role: "viewer" }, "ro"), ["work", "Find in the terminal", ...panes, "Show ended sessions", ...always]);
  assert.deepEqual(names({ kind: "share", role: "viewer" }, "ro"), ["Find in the terminal", ...always]);
  assert.deepEqual(names({ kind: "share" }, "rw"), ["Find in the terminal", "View only", ...always]);
  const unknown = paletteChoices([session], { open: undefined, mode: "rw", controlled: false, read: false, hasOutput: false, rights: NO_RIGHTS }, actions);
  assert.deepEqual(unknown.map(({ name }) => name), always);
});
