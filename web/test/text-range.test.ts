import assert from "node:assert/strict";
import { test } from "node:test";
import { dragged, extended, wordAt } from "../src/text-range";

/** The part of a line that a finger selects at the first place of a text in it. */
function chosen(line: string, at: string): string | null {
  const word = wordAt([...line], line.indexOf(at));
  return word === null ? null : line.slice(word.start, word.end);
}

test("a word ends at blanks, brackets and quotes, an address does not", () => {
  assert.equal(chosen("cd ~/src/stayd && ls", "src"), "~/src/stayd");
  assert.equal(chosen("see (https://example.com/a?b=c#d) now", "example"), "https://example.com/a?b=c#d");
  assert.equal(chosen('name="value one"', "one"), "one");
  assert.equal(chosen("one", "o"), "one");
  assert.equal(chosen("one two", " "), null);
  assert.equal(wordAt([], 3), null);
});

test("both halves of a wide character belong to its word", () => {
  const cells = ["a", "漢", "", "b", " "];
  for (const place of [0, 1, 2, 3]) assert.deepEqual(wordAt(cells, place), { start: 0, end: 4 });
  assert.equal(wordAt(cells, 4), null);
});

test("a selection grows from its first word in both directions", () => {
  const word = { start: 10, end: 14 };
  assert.deepEqual(extended(word, 20), { start: 10, end: 21 });
  assert.deepEqual(extended(word, 3), { start: 3, end: 14 });
  assert.deepEqual(extended(word, 12), word);
});

test("a handle moves its own end, and never past the other", () => {
  const range = { start: 10, end: 14 };
  assert.deepEqual(dragged(range, "start", 2), { start: 2, end: 14 });
  assert.deepEqual(dragged(range, "start", 50), { start: 13, end: 14 });
  assert.deepEqual(dragged(range, "end", 50), { start: 10, end: 51 });
  assert.deepEqual(dragged(range, "end", 3), { start: 10, end: 11 });
});
