// Reads cases from standard input and says for each snapshot whether a terminal that starts from
// it is the same as one that saw everything, at that moment and at the end.
//
// A case is a line of JSON, {name, cols, rows, scrollback, length, resizes: [[at, cols, rows]],
// cuts: [{at, resized, cols, rows, length, by}]}, then the stream, then the snapshots. A cut lies
// after `at` bytes and the first `resized` resizes; `by` names the screen that wrote the snapshot.
// An answer is a line of JSON, {name, cut, by, where, differences}, for each cut that differs,
// {name, cut, adopted} for each where the terminal had to be given what no sequence brings about,
// {name, failed} if xterm.js itself threw an error, and {name, done, ms} at the end of each case.

import { adopt, compare, open, play, write } from "./terminal.mjs";

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
  const snapshots = cuts.map((cut) => take(cut.length));
  const started = performance.now();
  try {
    check({ name, cols, rows, scrollback, stream, resizes, cuts, snapshots });
  } catch (error) {
    answer({ name, failed: String(error?.stack ?? error).split("\n").slice(0, 4).join(" ") });
  }
  answer({ name, done: cuts.length, ms: Math.round(performance.now() - started) });
}

function check({ name, cols, rows, scrollback, stream, resizes, cuts, snapshots }) {
  const start = { at: 0, resized: 0 };
  const end = { at: stream.length, resized: resizes.length };

  const whole = open(cols, rows, scrollback);
  play(whole, stream, resizes, start, end);
  const witness = open(cols, rows, scrollback);
  let seen = start;
  let isExact = true;
  for (const [number, cut] of cuts.entries()) {
    // A screen that was folded where no sequence brings about everything is not the same.
    if (cut.by === "folded" && !isExact) continue;
    play(witness, stream, resizes, seen, cut);
    seen = cut;
    const report = (where, differences) => {
      if (differences.length) answer({ name, cut: cut.at, by: cut.by, where, differences });
    };
    const late = open(cut.cols, cut.rows, scrollback);
    write(late, snapshots[number]);
    report("asks", late.answers ? [JSON.stringify(late.answers)] : []);
    report("cut", compare(witness, late, cut.resized > 0));
    if (cut.by === "late") {
      const adopted = adopt(witness, late, cut.resized > 0, whole);
      if (adopted.length) {
        answer({ name, cut: cut.at, adopted });
        isExact = false;
      }
      play(late, stream, resizes, cut, end);
      report("end", compare(whole, late, resizes.length > 0));
    }
    late.dispose();
  }
}
