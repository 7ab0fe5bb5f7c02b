// Splits a command line into arguments by the quoting rules of a POSIX shell. It is not a shell:
// what needs one (pipes, variables, several commands) is an error that says so.

/** The command line cannot be parsed. */
export class ArgvError extends Error {}

/** Characters that a shell would interpret. Here the program would get them literally. */
const SHELL = /[|&;<>()`$*?\n]/;

/** The arguments of a command line, at least one. */
export function argv(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < line.length; at++) {
    const c = line.charAt(at);
    if (c === " " || c === "\t") {
      if (word !== null) words.push(word);
      word = null;
    } else if (c === "'") {
      const end = line.indexOf("'", at + 1);
      if (end < 0) throw new ArgvError("The quote ' is opened but not closed.");
      word = (word ?? "") + line.slice(at + 1, end);
      at = end;
    } else if (c === '"') {
      const [text, end] = quoted(line, at + 1);
      word = (word ?? "") + text;
      at = end;
    } else if (c === "\\") {
      at += 1;
      if (at === line.length) throw new ArgvError("Nothing follows the last backslash.");
      word = (word ?? "") + line.charAt(at);
    } else if (SHELL.test(c)) {
      throw new ArgvError(`“${c === "\n" ? "a new line" : c}” needs a shell: write sh -c '…', or quote it.`);
    } else {
      word = (word ?? "") + c;
    }
  }
  if (word !== null) words.push(word);
  if (words.length === 0) throw new ArgvError("The command is missing.");
  if (words[0] === "") throw new ArgvError("The command's name is empty.");
  return words;
}

/** The text in double quotes that begins at `at`, and the position of the closing quote. */
function quoted(line: string, at: number): [string, number] {
  let text = "";
  for (; at < line.length; at++) {
    const c = line.charAt(at);
    if (c === '"') return [text, at];
    if (c === "$" || c === "`") {
      throw new ArgvError(`“${c}” needs a shell: write sh -c '…', or put it in single quotes.`);
    }
    const next = line.charAt(at + 1);
    if (c === "\\" && next !== "" && '"\\$`'.includes(next)) {
      text += next;
      at += 1;
    } else {
      text += c;
    }
  }
  throw new ArgvError('The quote " is opened but not closed.');
}

/** The reverse of `argv`: the arguments, quoted where that is needed. */
export function commandLine(words: string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}
