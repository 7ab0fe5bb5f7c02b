import assert from "node:assert/strict";
import { test } from "node:test";
import { conflictingFields } from "../src/conditional-edit";
import type { Session } from "../src/messages";

const session = (some: Partial<Session>) => ({ name: null, labels: {}, idle_timeout_s: 1800, ...some }) as Session;

test("only what was changed here and otherwise there is overtaken", () => {
  const shown = session({});
  assert.deepEqual(conflictingFields(shown, session({}), { name: "a" }), []);
  assert.deepEqual(conflictingFields(shown, session({ idle_timeout_s: null }), { name: "a" }), [], "they changed something else");
  assert.deepEqual(conflictingFields(shown, session({ name: "b" }), { name: "a" }), ["name"]);
  assert.deepEqual(conflictingFields(shown, session({ name: "a" }), { name: "a" }), [], "they wanted the same");
  const now = session({ labels: { k: "v" }, idle_timeout_s: 5 });
  assert.deepEqual(conflictingFields(shown, now, { labels: { a: "" }, idle_timeout_s: null }), ["labels", "idle_timeout_s"]);
});
