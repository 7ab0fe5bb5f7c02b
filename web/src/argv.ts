// A command line as its words, by the quoting rules of a POSIX shell. It is not a shell: what
// only a shell could do (pipes, variables, several commands) is an error that says so.

/** The command line cannot be understood. */
export class ArgvError extends Error {}

/** What a shell would do something with; here it would be handed to the program as it stands. */
const SHELL = /[|&;<>()`$*?\n]/;

/** The words of a command line; at least one. */
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

/** What stands in double quotes from `at`, and where they close. */
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

/** The other way: a command as one would type it. */
export function commandLine(words: string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}
