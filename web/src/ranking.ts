// What the switcher finds, best first.

/** Something that can be found. */
export interface Entry {
  /** What it is called. */
  name: string;
  /** What else it is found by. */
  more: string;
}

/** How well a word fits an entry: 0 not at all. */
function fit(word: string, name: string, more: string): number {
  const at = name.indexOf(word);
  if (at === 0) return 6;
  if (at > 0) return /[\s/_.:-]/.test(name.charAt(at - 1)) ? 5 : 4;
  if (more.includes(word)) return 3;
  // `dpl` finds `deploy`; in what is long it would find everything.
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

/** The entries that all words of the query fit, best first; equals keep their order. */
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
