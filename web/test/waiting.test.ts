import assert from "node:assert/strict";
import { test } from "node:test";
import type { DoingState } from "../src/messages";
import { blockedFirst, doingText, longestWaiting } from "../src/waiting";

const at = (second: number) => new Date(1_800_000_000_000 + second * 1000).toISOString();
const session = (id: string, state: DoingState, second = 0) => ({
  id,
  attention: { state, message: null, since: at(second), source: null },
});
const ids = (some: { id: string }[]) => some.map(({ id }) => id).join("");

test("who asks is at the top, the longest waiting first, and the others stay as they are", () => {
  const all = [session("a", "working"), session("b", "blocked", 9), { id: "c" }, session("d", "blocked", 3), session("e", "done")];
  assert.equal(ids(blockedFirst(all)), "dbace");
  assert.equal(ids(blockedFirst([])), "");
});

test("a key leads to who has waited longest, and then to the next", () => {
  const all = [session("a", "working"), session("b", "blocked", 9), session("c", "done", 1), session("d", "blocked", 3)];
  assert.equal(longestWaiting(all, null)?.id, "d");
  assert.equal(longestWaiting(all, "d")?.id, "b");
  assert.equal(longestWaiting([session("a", "done", 5), session("b", "done", 2)], null)?.id, "b");
  assert.equal(longestWaiting([session("b", "blocked")], "b")?.id, "b");
  assert.equal(longestWaiting([session("a", "idle"), { id: "x" }], null), undefined);
});

test("the list says for how long", () => {
  const now = Date.parse(at(200));
  assert.equal(doingText(session("a", "blocked").attention, now), "waits for you 3 min");
  assert.equal(doingText(session("a", "done", 190).attention, now), "done 10 s ago");
  assert.equal(doingText(session("a", "working", 140).attention, now), "working 1 min");
  assert.equal(doingText(session("a", "unknown").attention, now), "");
});
