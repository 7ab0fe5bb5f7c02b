import assert from "node:assert/strict";
import { test } from "node:test";
import { sequence, withHeld } from "../src/key-sequences";

const none = { ctrl: false, alt: false };

test("keys of the bar send what xterm sends", () => {
  assert.equal(sequence("esc", none, false), "\x1b");
  assert.equal(sequence("up", none, false), "\x1b[A");
  assert.equal(sequence("up", none, true), "\x1bOA");
  assert.equal(sequence("left", { ctrl: true, alt: false }, true), "\x1b[1;5D");
  assert.equal(sequence("right", { ctrl: true, alt: true }, false), "\x1b[1;7C");
  assert.equal(sequence("interrupt", none, false), "\x03");
  assert.equal(sequence("tab", { ctrl: false, alt: true }, false), "\x1b\t");
  assert.equal(sequence("home", none, false), "\x1b[H");
  assert.equal(sequence("end", none, true), "\x1bOF");
  assert.equal(sequence("end", { ctrl: true, alt: false }, true), "\x1b[1;5F");
  assert.equal(sequence("pageup", none, true), "\x1b[5~");
  assert.equal(sequence("pagedown", { ctrl: true, alt: false }, false), "\x1b[6;5~");
});

test("a held key changes the next character", () => {
  const ctrl = { ctrl: true, alt: false };
  assert.equal(withHeld("c", ctrl), "\x03");
  assert.equal(withHeld("R", ctrl), "\x12");
  assert.equal(withHeld("[", ctrl), "\x1b");
  assert.equal(withHeld(" ", ctrl), "\0");
  assert.equal(withHeld("5", ctrl), "5");
  assert.equal(withHeld("b", { ctrl: false, alt: true }), "\x1bb");
  assert.equal(withHeld("a", { ctrl: true, alt: true }), "\x1b\x01");
  assert.equal(withHeld("pasted text", ctrl), "pasted text");
});
