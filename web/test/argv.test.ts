import assert from "node:assert/strict";
import { test } from "node:test";
import { argv, ArgvError, commandLine } from "../src/argv";

test("words as a shell has them", () => {
  const cases: [string, string[]][] = [
    ["top", ["top"]],
    ["  tail  -f\t/var/log/syslog ", ["tail", "-f", "/var/log/syslog"]],
    [`sh -c 'make && ./run "$HOME"'`, ["sh", "-c", 'make && ./run "$HOME"']],
    [`printf "a \\"b\\" \\n c"`, ["printf", 'a "b" \\n c']],
    [`echo one\\ word 'it'\\''s'`, ["echo", "one word", "it's"]],
    [`x '' ""`, ["x", "", ""]],
    [`a"b"'c'd`, ["abcd"]],
    ["python3 -m http.server ~x #1", ["python3", "-m", "http.server", "~x", "#1"]],
  ];
  for (const [line, words] of cases) {
    assert.deepEqual(argv(line), words, line);
    assert.deepEqual(argv(commandLine(words)), words, `${line}, there and back`);
  }
});

test("what cannot be understood says why", () => {
  const cases: [string, RegExp][] = [
    ["", /missing/],
    [" \t ", /missing/],
    ["'' x", /name is empty/],
    ["echo 'a", /quote ' is opened/],
    ['echo "a', /quote " is opened/],
    ["echo a\\", /backslash/],
    ["make && run", /“&” needs a shell/],
    ["cat a | less", /“\|” needs a shell/],
    ["ls *.rs", /“\*” needs a shell/],
    ['echo "$HOME"', /single quotes/],
  ];
  for (const [line, why] of cases) {
    assert.throws(() => argv(line), (error) => error instanceof ArgvError && why.test(error.message), line);
  }
});
