// The options of the selects in the dialogs.

import { make } from "./dom";
import type { IdleWhen, Recording, Restart, SizePolicy } from "./messages";

export const RESTARTS: [Restart, string][] = [
  ["never", "do not restart it"],
  ["on-failure", "restart it if it failed"],
  ["always", "always restart it"],
];

export const IDLE_WHENS: [IdleWhen, string][] = [
  ["detached", "whatever the program does"],
  ["detached_and_quiet", "once it prints nothing and runs no command"],
];

export const SIZES: [SizePolicy, string][] = [
  ["latest", "of the window that typed or attached last"],
  ["smallest", "of the smallest window"],
  ["fixed", "fixed, whatever windows attach"],
];

export const RECORDINGS: [Recording, string][] = [
  ["off", "off"],
  ["output", "output"],
  ["all", "output and input"],
];

/** Fills a select with pairs of value and text. */
export function fillSelect(select: HTMLSelectElement, choices: [string, string][], chosen: string): void {
  const options = choices.map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  });
  select.replaceChildren(...options);
  select.value = chosen;
}
