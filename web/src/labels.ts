// Labels as users type them: `team=web, urgent`.

export type Labels = Record<string, string>;

/** Parses labels that are separated by commas. A label without `=` has an empty value. */
export function parseLabels(text: string): Labels {
  const labels: Labels = {};
  for (const part of text.split(/[,\n]/)) {
    const label = part.trim();
    if (label === "") continue;
    const at = label.indexOf("=");
    const key = (at < 0 ? label : label.slice(0, at)).trim();
    if (key === "") throw new Error(`The label “${label}” has no name before its “=”.`);
    if (key in labels) throw new Error(`The label “${key}” appears twice.`);
    labels[key] = at < 0 ? "" : label.slice(at + 1).trim();
  }
  return labels;
}

/** One label as it is shown. */
export const formatLabel = (key: string, value: string): string => (value === "" ? key : `${key}=${value}`);

/** The reverse of `parseLabels`. */
export function formatLabels(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => formatLabel(key, value))
    .join(", ");
}
