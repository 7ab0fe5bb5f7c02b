// Pictures that programs draw.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, shows, stage, type, visit } from "./support.js";

const stayd = stage();
/** A red square of 8 × 8 pixels. */
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC";

/** How many red pixels the pictures have. */
function red(page) {
  return page.locator(".frame").evaluate((frame) => {
    const canvas = frame.querySelector("canvas.xterm-image-layer");
    if (canvas === null || canvas.width === 0) return 0;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] > 200 && data[at + 1] < 50 && data[at + 3] > 200) count += 1;
    return count;
  });
}

test("sixel and iTerm2 pictures are drawn, and the program is answered once", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  // A picture that comes before the code for it is loaded is not drawn.
  const loaded = page.waitForResponse(async (response) => /part-.*\.js$/.test(response.url()) && (await response.text()).includes("xterm-image-layer"));
  await newShell(page);
  await loaded;
  // A row of six pixels, forty columns wide, and the prompt below it.
  await type(page, "clear; printf '\\033Pq#1;2;100;0;0#1!40~\\033\\\\\\n'");
  await eventually("the sixel is drawn", async () => (await red(page)) >= 40 * 6);
  await type(page, `clear; printf '\\033]1337;File=inline=1;size=${atob(PNG).length};width=2;height=2:${PNG}\\007\\n'`);
  await eventually("the other is drawn", async () => (await red(page)) >= 64);
  await type(page, "clear; printf '\\033[c'; read -rsd c answer; read -rst 1 second; echo \"<${answer#?}|$second>\"");
  await shows(page, /^<\[\?[0-9;]+\|>$/);
  await page.reload();
  await shows(page, /^<\[\?[0-9;]+\|>$/);
  assert.equal(await red(page), 0, "a redraw has no pictures");
});
