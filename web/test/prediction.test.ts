import assert from "node:assert/strict";
import { test } from "node:test";
import { type Line, Predictor, type Screen } from "../src/prediction";

/** A line of text that a program echoes, or not. */
class Prompt implements Screen {
  text = "$ ";
  row = 0;
  cursor() {
    return { column: this.text.length, line: this.row };
  }
  columns() {
    return 20;
  }
  at(line: number, column: number) {
    return line === this.row ? (this.text[column] ?? " ") : " ";
  }
  mark(): Line {
    return { line: this.row, dispose() {} };
  }
}

function shown(predictor: Predictor): string {
  return predictor.predictions.map(({ character, column }) => `${character}${column}`).join(" ");
}

/** A predictor on a slow line, whose program has echoed a character. */
function trusted(): [Prompt, Predictor] {
  const prompt = new Prompt();
  const predictor = new Predictor(prompt);
  predictor.typed("l", 0, 200);
  assert.equal(shown(predictor), "", "nobody knows yet whether there is an echo");
  prompt.text += "l";
  predictor.settle(200, 200);
  return [prompt, predictor];
}

test("what is typed is shown once an earlier character was echoed, and until it is echoed itself", () => {
  const [prompt, predictor] = trusted();
  predictor.typed("s", 300, 200);
  predictor.typed("x", 310, 200);
  assert.equal(shown(predictor), "s3 x4");
  predictor.typed("\x7f", 320, 200);
  assert.equal(shown(predictor), "s3");
  prompt.text += "s";
  predictor.settle(500, 200);
  assert.equal(shown(predictor), "");
});

test("on a fast line nothing is shown", () => {
  const prompt = new Prompt();
  const predictor = new Predictor(prompt);
  for (const character of "abc") {
    predictor.typed(character, 0, 30);
    assert.equal(shown(predictor), "");
    prompt.text += character;
    predictor.settle(1, 30);
  }
});

test("after Enter nothing is shown until something is echoed: a password stays hidden", () => {
  const [prompt, predictor] = trusted();
  predictor.typed("\r", 300, 200);
  prompt.row = 1;
  prompt.text = "Password: ";
  predictor.settle(500, 200);
  for (const [at, character] of [..."secret"].entries()) {
    predictor.typed(character, 600 + at, 200);
    predictor.settle(610 + at, 200);
    assert.equal(shown(predictor), "");
  }
  predictor.settle(5000, 200);
  assert.ok(!predictor.expects, "it was given up");
});

test("what comes otherwise, or not at all, takes everything back", () => {
  const [prompt, predictor] = trusted();
  predictor.typed("a", 300, 200);
  predictor.typed("b", 300, 200);
  prompt.text += "*";
  predictor.settle(500, 200);
  assert.equal(shown(predictor), "");
  const [, silent] = trusted();
  silent.typed("a", 300, 200);
  silent.settle(899, 200);
  assert.equal(shown(silent), "a3");
  silent.settle(901, 200);
  assert.equal(shown(silent), "");
});

test("keys whose effect nobody knows end the predictions, until what was typed has come", () => {
  const [prompt, predictor] = trusted();
  predictor.typed("a", 300, 200);
  predictor.typed("\x1b[D", 310, 200);
  predictor.typed("b", 320, 200);
  assert.equal(shown(predictor), "a3");
  prompt.text += "a";
  predictor.settle(500, 200);
  predictor.typed("c", 510, 200);
  assert.equal(shown(predictor), "c4", "the echo of the first is seen");
});

test("nothing is expected in the last column", () => {
  const [prompt, predictor] = trusted();
  prompt.text = "$ 0123456789012345";
  predictor.typed("a", 300, 200);
  predictor.typed("b", 300, 200);
  assert.equal(shown(predictor), "a18");
});
