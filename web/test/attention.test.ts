import assert from "node:assert/strict";
import { test } from "node:test";
import { Attention, badged, causeText } from "../src/attention";

const sign = (session: string, cause: "bell" | "quiet" | "notification", at: number, text = "") => ({ session, cause, at, text });

test("a bell counts once a session, until it is looked at", () => {
  const attention = new Attention(0);
  assert.equal(attention.notice(sign("a", "bell", 10)), true);
  assert.equal(attention.notice(sign("a", "bell", 20)), true);
  assert.equal(attention.notice(sign("b", "notification", 20, "built")), true);
  assert.equal(attention.count, 2);
  assert.equal(badged("work · stayd", attention.count), "(2) work · stayd");
  assert.equal(attention.look("a", 30), true);
  assert.equal(attention.look("a", 31), false);
  assert.equal(attention.count, 1);
  attention.look("b", 40);
  assert.equal(badged("work · stayd", attention.count), "work · stayd");
});

test("silence counts after work, not after an echo", () => {
  const attention = new Attention(1000);
  assert.equal(attention.notice(sign("a", "quiet", 3000)), false, "two seconds after the page came");
  attention.look("a", 60_000);
  assert.equal(attention.notice(sign("a", "quiet", 60_500)), false, "what was typed last");
  assert.equal(attention.notice(sign("a", "quiet", 75_000)), true, "it went on for 15 s");
  assert.equal(causeText(sign("a", "quiet", 0)), "fell quiet");
});

test("silence after a bell does not hide the bell", () => {
  const attention = new Attention(0);
  attention.notice(sign("a", "bell", 20_000));
  assert.equal(attention.notice(sign("a", "quiet", 30_000)), false);
  assert.equal(attention.of("a")?.cause, "bell");
});
