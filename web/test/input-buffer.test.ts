import assert from "node:assert/strict";
import { test } from "node:test";
import { InputBuffer } from "../src/input-buffer";
import type { Bytes } from "../src/messages";

const bytes = (text: string): Bytes => new TextEncoder().encode(text);
const text = (data: Bytes) => new TextDecoder().decode(data);

test("sends once, and forgets what was accepted", () => {
  const input = new InputBuffer();
  input.resume(0);
  input.push(bytes("abc"), 100);
  assert.equal(text(input.take(100)), "abc");
  assert.equal(text(input.take(100)), "");
  assert.equal(input.waiting, 3);
  input.confirm(3);
  assert.equal(input.waiting, 0);
});

test("stays within the window and goes on as it opens", () => {
  const input = new InputBuffer();
  input.resume(0);
  input.push(bytes("abcdefgh"), 100);
  assert.equal(text(input.take(3)), "abc");
  input.confirm(2);
  assert.equal(text(input.take(3)), "de");
  input.confirm(1);
  assert.equal(text(input.take(3)), "");
});

test("sends again exactly what a lost connection swallowed", () => {
  const input = new InputBuffer();
  input.resume(0);
  input.push(bytes("abcdef"), 100);
  input.take(100);
  input.confirm(1);
  input.push(bytes("gh"), 100);
  input.resume(4);
  assert.equal(text(input.take(100)), "efgh");
});

test("goes on from the server's count after a reload, and after the server forgot it", () => {
  const input = new InputBuffer();
  input.push(bytes("new"), 100);
  input.resume(0);
  input.confirm(3);
  input.push(bytes("xy"), 100);
  input.resume(500);
  assert.equal(input.waiting, 0, "500 covers it");
  input.push(bytes("z"), 100);
  input.take(100);
  input.resume(0);
  assert.equal(text(input.take(100)), "z");
  input.confirm(1);
  assert.equal(input.waiting, 0);
});

test("refuses what would exceed the limit, whole", () => {
  const input = new InputBuffer();
  assert.equal(input.push(bytes("abcd"), 4), true);
  assert.equal(input.push(bytes("e"), 4), false);
  assert.equal(input.waiting, 4);
});

test("what was sent to one run of a command is not typed into the next", () => {
  const input = new InputBuffer();
  input.resume(0, "first");
  input.push(bytes("exit\r"), 100);
  assert.equal(text(input.take(100)), "exit\r");
  input.push(bytes("later"), 100);
  input.resume(0, "second");
  assert.equal(text(input.take(100)), "later");
  input.resume(2, "second");
  assert.equal(text(input.take(100)), "ter", "the same run: what was not accepted");
});
