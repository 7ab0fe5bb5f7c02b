// Choices that are offered in dialogs.

import { make } from "./dom";
import type { Recording, Restart, SizePolicy } from "./messages";

export const RESTARTS: [Restart, string][] = [
  ["never", "it stays ended"],
  ["on-failure", "start it again if it failed"],
  ["always", "start it again"],
];

export const SIZES: [SizePolicy, string][] = [
  ["latest", "follows the window that typed or came last"],
  ["smallest", "fits every window"],
  ["fixed", "stays as it is, whoever comes"],
];

export const RECORDINGS: [Recording, string][] = [
  ["off", "off"],
  ["output", "what it shows"],
  ["all", "what it shows and what is typed"],
];

/** Fills a select with values and their words. */
export function fillSelect(select: HTMLSelectElement, choices: [string, string][], chosen: string): void {
  const options = choices.map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  });
  select.replaceChildren(...options);
  select.value = chosen;
}
