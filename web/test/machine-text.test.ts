import assert from "node:assert/strict";
import { test } from "node:test";
import { awayText, directoryText, heardText, lastStatusText, machineText } from "../src/machine-text";
import type { Machine } from "../src/messages";

const now = Date.parse("2026-01-01T00:01:00Z");
const at = "2026-01-01T00:00:20Z";
const machine = (more: Partial<Machine>): Machine => ({ name: "gpu-1", state: "online", version: "0.2.0", load: 0.42, cores: 8, heard_at: at, ...more }) as Machine;

test("a machine says how it is, as far as anybody knows", () => {
  assert.equal(machineText(machine({}), now), "online · load 0.4/8 · 0.2.0");
  assert.equal(machineText(machine({ load: 12.6 }), now), "online · load 13/8 · 0.2.0");
  assert.equal(machineText(machine({ state: "offline" }), now), "offline, last heard 40 s ago · 0.2.0");
  assert.equal(machineText(machine({ state: "offline", heard_at: null, version: null, load: null, cores: null }), now), "offline, never heard");
  assert.equal(lastStatusText({ status: "ACTIVE" }), "was active");
});

test("a server that is cut off says since when", () => {
  const fleet = { self: "desk", nodes: [], heard_at: at };
  assert.equal(directoryText({ ...fleet, connected: false }, now), "directory last heard 40 s ago");
  assert.equal(directoryText({ ...fleet, connected: true }, now), "");
  assert.equal(heardText(null, now), "never heard");
  assert.match(awayText("gpu-1", at), /^gpu-1 is not reached since .*:\d\d.*; trying again$/);
  assert.equal(awayText("gpu-1", null), "gpu-1 is not reached; trying again");
});
