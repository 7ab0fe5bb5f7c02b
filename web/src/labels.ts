// Labels as people type them: `team=web, urgent`.

export type Labels = Record<string, string>;

/** Those in a line of text, separated by commas; one without a value has an empty one. */
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

/** The other way. */
export function formatLabels(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => formatLabel(key, value))
    .join(", ");
}
