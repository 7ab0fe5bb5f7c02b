import assert from "node:assert/strict";
import { test } from "node:test";
import { labelsOf, labelsText } from "../src/labels";

test("labels there and back", () => {
  const labels = { team: "web", urgent: "", query: "a=b" };
  assert.deepEqual(labelsOf(" team=web, urgent ,query=a=b,, "), labels);
  assert.deepEqual(labelsOf(labelsText(labels)), labels);
  assert.deepEqual(labelsOf(""), {});
});

test("labels that make no sense say why", () => {
  assert.throws(() => labelsOf("=x"), /no name/);
  assert.throws(() => labelsOf("a=1, a=2"), /twice/);
});
