// Prints the width that xterm.js gives each character from U+00A0 on, as runs:
// [[first, width], ...].

import { open } from "./terminal.mjs";

const { unicodeService } = open(80, 24, 0)._core;
const runs = [];
for (let code = 0xa0; code <= 0x10ffff; code++) {
  const width = unicodeService.wcwidth(code);
  if (runs.at(-1)?.[1] !== width) runs.push([code, width]);
}
process.stdout.write(JSON.stringify(runs));
