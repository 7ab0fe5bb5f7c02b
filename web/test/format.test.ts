import assert from "node:assert/strict";
import { test } from "node:test";
import { endText, type SessionEnd, stayText } from "../src/format";

const end = (some: Partial<SessionEnd>): SessionEnd => ({ code: null, signal: null, reason: null, ...some });

test("how a session ended is told with its own timeout, where that is known", () => {
  const timeouts = { idle_timeout_s: 1800, first_attach_timeout_s: 60 };
  const idle = end({ reason: "idle_timeout" });
  assert.equal(endText(idle, timeouts), "Ended: nobody was attached for 30 min.");
  assert.equal(endText(idle, { ...timeouts, idle_timeout_s: null }), "Ended: nobody was attached for too long.");
  assert.equal(endText(end({ reason: "first_attach_timeout" }), timeouts), "Ended: nobody attached within 1 min.");
  assert.equal(endText(end({ reason: "first_attach_timeout" })), "Ended: nobody attached in time.");
});

test("an exit code and a signal are told by number and by name", () => {
  assert.equal(endText(end({ reason: "exited", code: 3 })), "The process exited with code 3.");
  assert.equal(endText(end({ reason: "signaled", signal: 9 })), "The process was ended by SIGKILL.");
});

test("how long a session stays is told before one leaves it", () => {
  assert.equal(stayText({ idle_timeout_s: 1800 }), "stays 30 min after you leave");
  assert.equal(stayText({ idle_timeout_s: 28_800 }), "stays 8 h after you leave");
  assert.equal(stayText({ idle_timeout_s: null }), "kept for good");
});
