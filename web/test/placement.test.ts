import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetState, Machine } from "../src/messages";
import { machineOf, placeChoices, placement, placeValue } from "../src/placement";

const machine = (name: string, more: Partial<Machine> = {}): Machine =>
  ({ name, state: "online", labels: {}, gateway: false, rights: "controller", ...more }) as Machine;
const fleet = (own: Partial<Machine> = {}): FleetState => ({
  self: "desk",
  connected: true,
  heard_at: null,
  nodes: [
    machine("any"),
    machine("attic", { state: "offline" }),
    machine("desk", own),
    machine("door", { gateway: true }),
    machine("gpu-1", { labels: { gpu: "yes" } }),
    machine("show", { rights: "viewer" }),
  ],
});

test("a session starts here, anywhere, where labels are, or on a machine that takes one", () => {
  const choices = placeChoices(fleet());
  assert.deepEqual(choices.map(([value]) => value), ["", "any", "labels", "=any", "=gpu-1"]);
  assert.equal(choices[4]?.[1], "on gpu-1 (gpu=yes)");
  assert.deepEqual(placeChoices(fleet({ gateway: true })).map(([value]) => value).slice(0, 2), ["any", "labels"]);
});

test("each choice is a request", () => {
  assert.deepEqual(placement("", ""), {});
  assert.deepEqual(placement("any", ""), { node: "any" });
  assert.deepEqual(placement("=gpu-1", "gpu=no"), { node: "gpu-1" }, "labels of another choice do not matter");
  assert.deepEqual(placement("labels", "gpu=yes, site"), { node_labels: { gpu: "yes", site: "" } });
  assert.throws(() => placement("labels", " "), /Which labels/);
  assert.deepEqual(["", "any", "labels", "=gpu-1"].map(machineOf), [null, null, null, "gpu-1"]);
});

test("a machine that cannot be chosen leaves the first choice", () => {
  assert.equal(placeValue(fleet(), "gpu-1"), "=gpu-1");
  assert.equal(placeValue(fleet(), "desk"), "");
  assert.equal(placeValue(fleet(), "attic"), "");
  assert.equal(placeValue(fleet({ gateway: true }), null), "any");
});
