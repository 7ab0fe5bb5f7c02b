import assert from "node:assert/strict";
import { test } from "node:test";
import { ranked } from "../src/ranking";

const entries = [
  { name: "logs", more: "tail -f /var/log/deploy.log" },
  { name: "pre-deploy", more: "bash" },
  { name: "deploy", more: "sh deploy.sh team=web" },
  { name: "editor", more: "vim src/main.rs" },
];
const found = (query: string) => ranked(entries, query).map(({ name }) => name);

test("names before what else is known, their beginnings first", () => {
  assert.deepEqual(found("deploy"), ["deploy", "pre-deploy", "logs"]);
  assert.deepEqual(found("MAIN vim"), ["editor"]);
  assert.deepEqual(found("team=web"), ["deploy"]);
});

test("letters with gaps find a name", () => {
  assert.deepEqual(found("dpl"), ["pre-deploy", "deploy"]);
  assert.deepEqual(found("zzz"), []);
});

test("without a query everything, in its order", () => {
  assert.deepEqual(found("  "), ["logs", "pre-deploy", "deploy", "editor"]);
});
