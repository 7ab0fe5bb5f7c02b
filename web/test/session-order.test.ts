import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLayout } from "../src/layout";
import { arranged, moved, parseOrder } from "../src/session-order";

const sessions = (ids: string) => [...ids].map((id) => ({ id }));
const ids = (some: { id: string }[]) => some.map(({ id }) => id).join("");

test("sessions keep the user's order, and new ones come first", () => {
  assert.equal(ids(arranged(sessions("dcba"), [])), "dcba");
  assert.equal(ids(arranged(sessions("dcba"), ["a", "gone", "c"])), "dbac");
  assert.deepEqual(arranged([], ["a"]), []);
});

test("a session is moved before another, or to the end", () => {
  const all = ["a", "b", "c"];
  assert.deepEqual(moved(all, "c", "a"), ["c", "a", "b"]);
  assert.deepEqual(moved(all, "a", "c"), ["b", "a", "c"]);
  assert.deepEqual(moved(all, "a", null), ["b", "c", "a"]);
  assert.deepEqual(moved(all, "b", "b"), all);
  assert.deepEqual(moved(all, "a", "gone"), ["b", "c", "a"]);
});

test("an order or a layout that makes no sense is none", () => {
  assert.deepEqual(parseOrder('["a",1,null,"b"]'), ["a", "b"]);
  for (const text of [null, "", "{", "7", "null"]) assert.deepEqual(parseOrder(text), [], String(text));
  for (const text of [null, "", "{", "null", "[]", '{"count":3,"sessions":[]}', '{"count":2,"sessions":"ab"}']) {
    assert.deepEqual(parseLayout(text), { count: 1, sessions: [] }, String(text));
  }
  const stored = '{"count":2,"sessions":[{"id":"a","readOnly":true},{"id":5},{"id":"c"}]}';
  assert.deepEqual(parseLayout(stored), { count: 2, sessions: [{ id: "a", readOnly: true }, null] });
});
