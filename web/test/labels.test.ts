import assert from "node:assert/strict";
import { test } from "node:test";
import { formatLabels, parseLabels } from "../src/labels";

test("labels there and back", () => {
  const labels = { team: "web", urgent: "", query: "a=b" };
  assert.deepEqual(parseLabels(" team=web, urgent ,query=a=b,, "), labels);
  assert.deepEqual(parseLabels(formatLabels(labels)), labels);
  assert.deepEqual(parseLabels(""), {});
});

test("labels that make no sense setText why", () => {
  assert.throws(() => parseLabels("=x"), /no name/);
  assert.throws(() => parseLabels("a=1, a=2"), /twice/);
});
