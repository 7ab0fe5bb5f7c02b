// Programs query the terminal: its type, its cursor position, its colours. The server answers, once
// for all clients. An answer from here would reach the program as a second one.

import type { Terminal } from "@xterm/xterm";

/** Colours that OSC sequences ask for: palette, foreground, background, cursor. */
const COLOURS = [4, 10, 11, 12];

/** Suppresses xterm.js's answers to queries. */
export function muteQueries(terminal: Terminal): void {
  const muted = () => true;
  const { parser } = terminal;
  // Primary, secondary and tertiary device attributes.
  parser.registerCsiHandler({ final: "c" }, muted);
  parser.registerCsiHandler({ prefix: ">", final: "c" }, muted);
  parser.registerCsiHandler({ prefix: "=", final: "c" }, muted);
  // Device status, cursor position.
  parser.registerCsiHandler({ final: "n" }, muted);
  parser.registerCsiHandler({ prefix: "?", final: "n" }, muted);
  // DECRQM: is this mode set?
  parser.registerCsiHandler({ intermediates: "$", final: "p" }, muted);
  parser.registerCsiHandler({ prefix: "?", intermediates: "$", final: "p" }, muted);
  // XTVERSION, and the kitty keyboard's flags.
  parser.registerCsiHandler({ prefix: ">", final: "q" }, muted);
  parser.registerCsiHandler({ prefix: "?", final: "u" }, muted);
  // DECRQSS and XTGETTCAP.
  parser.registerDcsHandler({ intermediates: "$", final: "q" }, muted);
  parser.registerDcsHandler({ intermediates: "+", final: "q" }, muted);
  for (const code of COLOURS) {
    parser.registerOscHandler(code, (data) => data.includes("?"));
  }
}
