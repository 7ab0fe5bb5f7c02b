// Reads cases from standard input and says for each cut whether a terminal that starts from
// the snapshot is the same as one that saw everything, at the cut and at the end.
//
// A case is a line of JSON, {name, cols, rows, scrollback, length, resizes: [[at, cols, rows]],
// cuts: [{at, cols, rows, length}]}, then the stream, then the snapshots. An answer is a line
// of JSON, {name, cut, where, differences}, for each cut that differs, and {name, done, ms}.

import { compare, open, play, write } from "./terminal.mjs";

const input = [];
for await (const chunk of process.stdin) input.push(chunk);
const bytes = Buffer.concat(input);

let offset = 0;
const take = (length) => bytes.subarray(offset, (offset += length));
const answer = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);

while (offset < bytes.length) {
  const end = bytes.indexOf(10, offset);
  const { name, cols, rows, scrollback, length, resizes, cuts } = JSON.parse(take(end - offset).toString());
  offset++;
  const stream = take(length);
  const started = performance.now();
  const narrowest = resizes.length ? Math.min(cols, ...resizes.map(([, cols]) => cols)) : 0;

  const whole = open(cols, rows, scrollback);
  play(whole, stream, resizes, 0, length + 1);
  const witness = open(cols, rows, scrollback);
  let seen = 0;
  for (const cut of cuts) {
    play(witness, stream, resizes, seen, cut.at);
    seen = cut.at;
    const late = open(cut.cols, cut.rows, scrollback);
    write(late, take(cut.length));
    if (late.answers) answer({ name, cut: cut.at, where: "asks", differences: [JSON.stringify(late.answers)] });
    let differences = compare(witness, late, narrowest);
    if (differences.length) answer({ name, cut: cut.at, where: "cut", differences });
    play(late, stream, resizes, cut.at, length + 1);
    differences = compare(whole, late, narrowest, resizes.some(([at]) => at >= cut.at));
    if (differences.length) answer({ name, cut: cut.at, where: "end", differences });
    late.dispose();
  }
  answer({ name, done: cuts.length, ms: Math.round(performance.now() - started) });
}
