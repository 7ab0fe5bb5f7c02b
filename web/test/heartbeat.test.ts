import assert from "node:assert/strict";
import { test } from "node:test";
import { Heartbeat, PING_EVERY_MS, SILENT_AFTER_MS } from "../src/heartbeat";

test("pings now and then, one at a time, and measures the round trip", () => {
  const heartbeat = new Heartbeat(0);
  assert.equal(heartbeat.tick(PING_EVERY_MS - 1), null);
  assert.equal(heartbeat.roundTrip, null);
  assert.equal(heartbeat.tick(PING_EVERY_MS), 1);
  assert.equal(heartbeat.tick(9 * PING_EVERY_MS), null, "the first one is not answered");
  heartbeat.answered(7, 9 * PING_EVERY_MS);
  assert.equal(heartbeat.roundTrip, null, "that was another connection's");
  heartbeat.answered(1, PING_EVERY_MS + 200);
  assert.equal(heartbeat.roundTrip, 200);
  assert.equal(heartbeat.tick(10 * PING_EVERY_MS), 2);
  heartbeat.answered(2, 10 * PING_EVERY_MS + 100);
  assert.equal(heartbeat.roundTrip, 175);
});

test("silence counts from the last word, and only once something was asked for long enough", () => {
  const heartbeat = new Heartbeat(0);
  assert.equal(heartbeat.silence(100_000), 0, "a page that slept has asked nothing");
  heartbeat.tick(100_000);
  assert.equal(heartbeat.silence(100_000 + SILENT_AFTER_MS - 1), 0);
  heartbeat.heard(102_000);
  assert.equal(heartbeat.silence(106_000), 0, "something came 4 s ago");
  assert.equal(heartbeat.silence(109_000), 7000);
  heartbeat.heard(109_500);
  assert.equal(heartbeat.silence(110_000), 0);
});
