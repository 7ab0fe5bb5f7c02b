import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "../src/backoff";

test("grows to a second while the outage is young, to ten later, and is half random", () => {
  const most = () => 1;
  assert.equal(delay(0, 0, most), 200);
  assert.equal(delay(1, 0, most), 400);
  assert.equal(delay(9, 59_000, most), 1000);
  assert.equal(delay(99, 61_000, most), 10_000);
  assert.equal(delay(9, 0, () => 0), 500);
});
