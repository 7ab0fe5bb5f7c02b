import assert from "node:assert/strict";
import { test } from "node:test";
import { mayBeAway, newsBetween, type OwnChange, pollDelay, pollPlan, withOwnChanges } from "../src/fleet-polling";
import type { FleetState, Machine, Session } from "../src/messages";

const machine = (name: string, live_sessions: number | null, state: Machine["state"] = "online"): Machine =>
  ({ name, live_sessions, state }) as Machine;
const fleet = (nodes: Machine[], connected = true): FleetState => ({ self: "desk", connected, heard_at: null, nodes });
const session = (id: string, more: Partial<Session> = {}): Session =>
  ({ id, node: "gpu-1", name: null, updated_at: "2026-01-01T00:00:00Z", bell_at: null, notification: null, ended_at: null, ...more }) as Session;

test("a fleet of some thousand sessions is fetched whole, a larger one by the machines that are unfolded", () => {
  const small = fleet([machine("desk", 9000), machine("gpu-1", 1900), machine("gpu-2", null)]);
  assert.deepEqual(pollPlan(small, () => false), { fetch: "all" }, "this machine's own are not counted");
  assert.deepEqual(pollPlan(fleet([machine("desk", 3)]), () => true), { fetch: "nothing" });
  const large = fleet([machine("desk", 1), machine("gpu-1", 1900), machine("gpu-2", 1900)]);
  assert.deepEqual(pollPlan(large, (name) => name !== "gpu-1"), { fetch: "machines", names: ["gpu-2"] });
});

test("it is fetched every 3 s, slower in the background and where the answer takes long", () => {
  assert.equal(pollDelay(true, 40), 3000);
  assert.equal(pollDelay(true, 10_000), 20_000);
  assert.equal(pollDelay(false, 40), 30_000);
});

test("what the page has changed itself is not undone by an older answer", () => {
  const changes = new Map<string, OwnChange>([
    ["started", { at: 1000, session: session("started") }],
    ["renamed", { at: 1000, session: session("renamed", { name: "new", updated_at: "2026-01-01T00:00:05Z" }) }],
    ["ended", { at: 1000, session: null }],
  ]);
  const fetched = [session("renamed", { name: "old" }), session("ended"), session("other")];
  const merged = withOwnChanges(fetched, changes, 2000);
  assert.deepEqual(merged.map(({ id, name }) => [id, name]), [["renamed", "new"], ["other", null], ["started", null]]);
  const newer = withOwnChanges([session("renamed", { name: "newest", updated_at: "2026-01-01T00:00:06Z" })], changes, 2000);
  assert.equal(newer.find(({ id }) => id === "renamed")?.name, "newest");
  // After some seconds the answer is right.
  assert.deepEqual(withOwnChanges(fetched, changes, 9000), fetched);
  assert.equal(changes.size, 0);
});

test("what has happened between two answers is told as events", () => {
  const since = "2026-01-01T00:00:09Z";
  const doing = { state: "working" as const, message: null, since: "2026-01-01T00:00:01Z", source: null };
  const before = new Map([session("a", { attention: doing }), session("b", { bell_at: since }), session("c")].map((one) => [one.id, one]));
  const asks = { state: "blocked" as const, message: "Go on?", since, source: null };
  const after = [
    session("a", { attention: asks }),
    session("b", { bell_at: since }),
    session("c", { bell_at: since, notification: { title: null, body: "done", at: since } }),
    session("new", { bell_at: since }),
  ];
  assert.deepEqual(newsBetween(before, after), [
    { kind: "attention", session: "a", name: null, at: since, ...asks },
    { kind: "bell", session: "c", name: null, at: since },
    { kind: "notification", session: "c", name: null, at: since, title: null, body: "done" },
  ]);
});

test("a session that is not found may be on a machine that is not heard", () => {
  const nodes = [machine("desk", 1), machine("gpu-1", 1), machine("gpu-2", 1, "offline")];
  assert.ok(!mayBeAway(null, "gpu-1"));
  assert.ok(!mayBeAway(fleet(nodes), undefined));
  assert.ok(!mayBeAway(fleet(nodes, false), "desk"));
  assert.ok(!mayBeAway(fleet(nodes), "gpu-1"), "its machine is there and does not know it");
  assert.ok(mayBeAway(fleet(nodes), "gpu-2"));
  assert.ok(mayBeAway(fleet(nodes), "gpu-3"));
  assert.ok(mayBeAway(fleet(nodes, false), "gpu-1"));
});
