import assert from "node:assert/strict";
import { test } from "node:test";
import { WholeCharacters } from "../src/utf8";

const text = "aé€😀\u{f0000}中\x1b[m";
const bytes = new TextEncoder().encode(text);

test("wherever a stream is cut, characters are whole, and every byte comes once", () => {
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const whole = new WholeCharacters();
      const cuts = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
      const pieces = cuts.map((cut) => whole.take(cut));
      const strict = () => new TextDecoder("utf-8", { fatal: true });
      assert.equal(pieces.map((piece) => strict().decode(piece)).join(""), text);
    }
  }
});

test("what is no character is not held back", () => {
  const whole = new WholeCharacters();
  const broken = [0x80, 0x80, 0x80, 0x80, 0xff, 0xe2, 0x41];
  assert.deepEqual([...whole.take(Uint8Array.from(broken))], broken);
  assert.deepEqual([...whole.take(Uint8Array.from([0xe2, 0x82]))], []);
  assert.deepEqual([...whole.take(Uint8Array.from([0x41]))], [0xe2, 0x82, 0x41]);
});

test("another stream begins without what was held back", () => {
  const whole = new WholeCharacters();
  whole.take(Uint8Array.from([0xe2, 0x82]));
  whole.reset();
  assert.deepEqual([...whole.take(Uint8Array.from([0x41]))], [0x41]);
});
