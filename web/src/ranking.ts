// Ranks the entries of the command palette for a query.

/** Something that a query can find. */
export interface Entry {
  /** The name, which counts most. */
  name: string;
  /** Further text in which the query is searched. */
  more: string;
}

/** How well a word matches an entry; 0: not at all. */
function fit(word: string, name: string, more: string): number {
  const at = name.indexOf(word);
  if (at === 0) return 6;
  if (at > 0) return /[\s/_.:-]/.test(name.charAt(at - 1)) ? 5 : 4;
  if (more.includes(word)) return 3;
  // `dpl` finds `deploy` by its name only: in a long text, letters with gaps match almost anything.
  return isSpread(word, name) ? 1 : 0;
}

function isSpread(word: string, text: string): boolean {
  let from = 0;
  for (const c of word) {
    const at = text.indexOf(c, from);
    if (at < 0) return false;
    from = at + c.length;
  }
  return true;
}

/** The entries that match all words of the query, best first; equal ones keep their order. */
export function ranked<T extends Entry>(entries: T[], query: string): T[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const scored = entries.map((entry) => {
    const [name, more] = [entry.name.toLowerCase(), entry.more.toLowerCase()];
    const fits = words.map((word) => fit(word, name, more));
    return { entry, score: fits.includes(0) ? 0 : fits.reduce((a, b) => a + b, 1) };
  });
  return scored
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ entry }) => entry);
}
