import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, countdown, duration } from "../src/time";

const S = 1000;
const MIN = 60 * S;
const H = 60 * MIN;

test("what is left is counted in seconds in its last hour", () => {
  const cases: [number, string][] = [
    [-5 * S, "0:00"],
    [1, "0:01"],
    [9 * S, "0:09"],
    [29 * MIN + 41 * S, "29:41"],
    [H, "1 h 00 min"],
    [7 * H + 4 * MIN + 1, "7 h 05 min"],
    [6 * 24 * H + 5 * H, "6 days"],
  ];
  for (const [ms, text] of cases) assert.equal(countdown(ms), text);
});

test("how long ago", () => {
  const cases: [number, string][] = [
    [-3 * S, "now"],
    [9.9 * S, "now"],
    [25 * S, "20 s"],
    [119 * S, "1 min"],
    [3 * H, "3 h"],
    [50 * H, "2 days"],
  ];
  for (const [ms, text] of cases) assert.equal(ago(ms), text);
  assert.equal(duration(0), "1 s");
  assert.equal(duration(30 * MIN), "30 min");
});
