import assert from "node:assert/strict";
import { test } from "node:test";
import { alertText, Attention, titleWithCount } from "../src/attention";

const alert = (session: string, cause: "bell" | "quiet" | "notification", at: number, text = "") => ({ session, cause, at, text });

test("a bell counts once a session, until it is looked at", () => {
  const attention = new Attention(0);
  assert.equal(attention.add(alert("a", "bell", 10)), true);
  assert.equal(attention.add(alert("a", "bell", 20)), true);
  assert.equal(attention.add(alert("b", "notification", 20, "built")), true);
  assert.equal(attention.count, 2);
  assert.equal(titleWithCount("work · stayd", attention.count), "(2) work · stayd");
  assert.equal(attention.markSeen("a", 30), true);
  assert.equal(attention.markSeen("a", 31), false);
  assert.equal(attention.count, 1);
  attention.markSeen("b", 40);
  assert.equal(titleWithCount("work · stayd", attention.count), "work · stayd");
});

test("silence counts after work, not after an echo", () => {
  const attention = new Attention(1000);
  assert.equal(attention.add(alert("a", "quiet", 3000)), false, "two seconds after the page came");
  attention.markSeen("a", 60_000);
  assert.equal(attention.add(alert("a", "quiet", 60_500)), false, "what was typed last");
  assert.equal(attention.add(alert("a", "quiet", 75_000)), true, "it went on for 15 s");
  assert.equal(alertText(alert("a", "quiet", 0)), "fell quiet");
});

test("silence after a bell does not hide the bell", () => {
  const attention = new Attention(0);
  attention.add(alert("a", "bell", 20_000));
  assert.equal(attention.add(alert("a", "quiet", 30_000)), false);
  assert.equal(attention.get("a")?.cause, "bell");
});

test("what is asked is not hidden by a bell, and is over when the program goes on", () => {
  const attention = new Attention(0);
  const asked = { session: "a", cause: "blocked" as const, at: 10, text: "May I?" };
  assert.equal(attention.add(asked), true);
  assert.equal(attention.add(alert("a", "bell", 11)), false);
  assert.equal(attention.get("a")?.cause, "blocked");
  assert.equal(attention.add({ ...asked, cause: "done" }), true);
  attention.goesOn("a");
  assert.equal(attention.count, 0);
  attention.add(alert("b", "bell", 12));
  attention.goesOn("b");
  assert.equal(attention.count, 1, "a bell is not about what the program does");
});

test("a notification that says that something is done is one alert", () => {
  const attention = new Attention(0);
  attention.add(alert("a", "notification", 10, "Tests: all passed"));
  assert.equal(attention.add({ session: "a", cause: "done", at: 10, text: "Tests: all passed" }), false);
  assert.equal(attention.get("a")?.cause, "notification");
  assert.equal(attention.add({ session: "a", cause: "done", at: 20, text: "done: make" }), true);
  assert.equal(alertText({ session: "a", cause: "done", at: 20, text: "done: make" }), "done: make");
});
