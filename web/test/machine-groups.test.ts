import assert from "node:assert/strict";
import { test } from "node:test";
import { fleetList, isUnfolded, machinesOf, parseFoldings, shownSessions } from "../src/machine-groups";
import type { DoingState, FleetState, Machine, Session } from "../src/messages";

const machine = (name: string, more: Partial<Machine> = {}): Machine => ({
  name,
  self: name === "desk",
  state: "online",
  version: "0.2.0",
  labels: {},
  live_sessions: 1,
  max_sessions: 4000,
  load: 0.4,
  cores: 8,
  since: null,
  heard_at: null,
  gateway: false,
  rights: "controller",
  ...more,
});
const fleet = (...nodes: Machine[]): FleetState => ({ self: "desk", connected: true, heard_at: null, nodes });
const session = (id: string, node: string, state: DoingState = "idle", second = 0): Session =>
  ({ id, node, name: id, profile: null, command: ["sh"], cwd: "/", title: null, labels: {}, attention: { state, message: null, since: new Date(1000 * second).toISOString(), source: null } }) as unknown as Session;
const three = fleet(machine("attic"), machine("desk"), machine("gpu-1"));
const names = (list: { machine: Machine }[]) => list.map(({ machine: { name } }) => name).join(" ");

test("this machine is first, the others follow by name, and one that is not told of yet has its place", () => {
  assert.equal(names(fleetList(three, [session("a", "bench")], {}, [], "").groups), "desk attic bench gpu-1");
  assert.equal(machinesOf(three, []).length, 3);
});

test("sessions are under their machines, and those that ask are above all, the longest waiting first", () => {
  const sessions = [session("a", "desk"), session("b", "gpu-1", "blocked", 9), session("c", "gpu-1"), session("d", "desk", "blocked", 3), session("e", "gpu-1")];
  const list = fleetList(three, sessions, {}, ["e"], "");
  assert.deepEqual(list.asking.map(({ id }) => id), ["d", "b"]);
  assert.deepEqual(list.groups.map(({ sessions: some }) => some.map(({ id }) => id).join("")), ["a", "", "ce"]);
  assert.deepEqual(list.groups.map(({ count }) => count), [2, 1, 3], "those that ask are counted, and what the machine says where it has more");
  assert.equal(list.total, 6);
  assert.equal(shownSessions(list).map(({ id }) => id).join(""), "dbace");
});

test("whoever asks on a machine that is away stays with it: nobody can answer", () => {
  const away = fleet(machine("desk"), machine("gpu-1", { state: "offline" }));
  const list = fleetList(away, [session("a", "gpu-1", "blocked")], {}, [], "");
  assert.equal(list.asking.length, 0);
  assert.equal(list.groups[1]?.sessions.length, 1);
});

test("many machines are folded until one is unfolded, and few are not", () => {
  assert.ok(isUnfolded({}, three, "gpu-1"));
  assert.ok(!isUnfolded({ "gpu-1": false }, three, "gpu-1"));
  const many = fleet(...Array.from({ length: 11 }, (_, at) => machine(`m-${at}`)));
  assert.ok(!isUnfolded({}, many, "m-3"));
  assert.ok(isUnfolded({ "m-3": true }, many, "m-3"));
  assert.ok(isUnfolded({}, many, "desk"), "this machine's are at hand");
  const list = fleetList(many, [session("a", "m-3"), session("b", "m-4")], { "m-3": true }, [], "");
  assert.equal(shownSessions(list).map(({ id }) => id).join(""), "a");
});

test("a search shows the machines that have what it looks for, unfolded, or are called so", () => {
  const sessions = [session("build", "gpu-1"), session("web", "attic"), session("ask", "attic", "blocked")];
  const list = fleetList(three, sessions, { "gpu-1": false }, [], "build");
  assert.equal(names(list.groups), "gpu-1");
  assert.ok(list.groups[0]?.unfolded);
  assert.equal(list.asking.length, 0);
  assert.equal(list.total, 3, "the number of all stays");
  const named = fleetList(three, sessions, {}, [], "Attic");
  assert.equal(names(named.groups), "attic");
  assert.equal(named.groups[0]?.sessions.length, 1);
  assert.equal(named.asking.length, 1);
  assert.equal(fleetList(three, sessions, {}, [], "nothing").groups.length, 0);
});

test("foldings that make no sense are left out", () => {
  assert.deepEqual(parseFoldings('{"a": true, "b": 1, "c": false}'), { a: true, c: false });
  for (const text of [null, "", "[]", "null", "3", "{"]) assert.deepEqual(parseFoldings(text), {});
});

test("a thousand machines with a hundred sessions each are grouped in a moment", () => {
  const nodes = Array.from({ length: 1000 }, (_, at) => machine(`m-${at}`));
  const sessions = nodes.flatMap(({ name }) => Array.from({ length: 100 }, (_, at) => session(`${name}-${at}`, name)));
  const began = performance.now();
  const { groups } = fleetList(fleet(...nodes), sessions, {}, [], "");
  assert.equal(groups.length, 1000);
  // It takes some tens of ms; the bound is for a machine that is busy with other things.
  assert.ok(performance.now() - began < 3000);
});
