// Ranges of a terminal's cells, counted line by line from the oldest: cell `column` of line `row` is
// number `row * cols + column`.

/** The cells from `start` up to `end`, without it. */
export interface Range {
  start: number;
  end: number;
}

/** What ends a word, beside blanks: as xterm.js has it, so that an address is one word. */
const SEPARATORS = new Set(" ()[]{}',\"`│|<>\u00a0");

/** The word at a place of a line, whose cells are given as their characters; the second cell of a wide
    character is empty. Null: there is a blank or a separator. */
export function wordAt(cells: readonly string[], place: number): Range | null {
  let start = place;
  const belongs = (at: number) => cells[at] !== undefined && !SEPARATORS.has(cells[at]);
  // The second half of a wide character belongs to the first.
  while (cells[start] === "" && start > 0) start -= 1;
  if (!belongs(start) || cells[start] === "") return null;
  let end = start + 1;
  while (belongs(start - 1)) start -= 1;
  while (belongs(end)) end += 1;
  return { start, end };
}

/** The range from a word that was chosen first to the place of the finger, in either direction. */
export function extended(first: Range, place: number): Range {
  return { start: Math.min(first.start, place), end: Math.max(first.end, place + 1) };
}

/** The range after one of its ends has been dragged to a place; at least one cell stays. */
export function dragged({ start, end }: Range, which: "start" | "end", place: number): Range {
  return which === "start" ? { start: Math.min(place, end - 1), end } : { start, end: Math.max(place + 1, start + 1) };
}
