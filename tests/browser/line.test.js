// The page on a slow line, and on one that nothing passes any more.

import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { Line } from "./line.js";
import { eventually, newShell, says, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage();
let line;

beforeEach(async () => {
  line?.close();
  line = await Line.to(stayd.server.address);
});
after(() => line?.close());

/** What is shown and not echoed yet. */
async function predicted(page) {
  return (await page.locator(".predicted").allTextContents()).join("");
}

test("a dead line is seen, typing is kept, and all arrives once the line is back", async () => {
  const { context, server } = stayd;
  const page = await visit(context, `${line.origin}/#token=${server.token}`);
  await newShell(page);
  await type(page, "echo before");
  await shows(page, "before");
  line.freeze();
  await page.keyboard.type("echo mean");
  const said = await says(page, /Last heard \d+ s ago/);
  assert.match(said, /typing is kept, not sent yet \(9 B\)/);
  await page.keyboard.type("while");
  await says(page, /not sent yet \(14 B\)/);
  assert.ok(!(await screen(page)).some((text) => text.includes("mean")));
  line.thaw();
  await says(page, /Attached/);
  await page.keyboard.press("Enter");
  const lines = await shows(page, "meanwhile");
  assert.equal(lines.filter((text) => text === "meanwhile").length, 1);
});

test("a line that stays dead is given up for another one", async () => {
  const { context, server } = stayd;
  const page = await visit(context, `${line.origin}/#token=${server.token}`);
  await newShell(page);
  await page.clock.install();
  await type(page, "echo before");
  await shows(page, "before");
  line.freeze();
  await page.keyboard.type("echo later");
  // The page's clock alone moves, so the browser's own deadlines are far away.
  await eventually("it connects again", async () => {
    await page.clock.fastForward(3000);
    return /Reconnecting|Connecting/.test(await page.locator("#status").innerText());
  });
  line.thaw();
  await eventually("it is attached", async () => {
    await page.clock.fastForward(1000);
    return /Attached/.test(await page.locator("#status").innerText());
  });
  await page.keyboard.press("Enter");
  await eventually("what was typed arrives", async () => {
    await page.clock.fastForward(100);
    return (await screen(page)).includes("later");
  });
});

test("on a slow line what is typed shows at once, but not where nothing is echoed", async () => {
  const { context, server } = stayd;
  const page = await visit(context, `${line.origin}/#token=${server.token}`);
  await newShell(page);
  line.delay = 200;
  // Until the page has measured the round trip.
  await eventually("typing is predicted", async () => {
    await page.keyboard.type("xy");
    return (await predicted(page)) !== "";
  });
  await page.keyboard.press("Control+U");
  await type(page, "clear; echo ready");
  await shows(page, "ready");
  await page.keyboard.type("e");
  await shows(page, /[$#] e$/);
  line.freeze();
  await page.keyboard.type("cho hello");
  await eventually("it is shown", async () => (await predicted(page)) === "cho hello");
  const style = await page.locator(".predicted").first().evaluate((element) => getComputedStyle(element).textDecorationLine);
  assert.equal(style, "underline");
  const [first, second] = await page.locator(".predicted").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().x));
  assert.ok(second > first);
  line.thaw();
  await shows(page, /[$#] echo hello$/);
  await eventually("nothing is predicted any more", async () => (await predicted(page)) === "");

  await page.keyboard.press("Control+U");
  await type(page, "read -rsp 'Password: ' word; echo; echo got-${#word}");
  await shows(page, "Password:");
  for (const character of "secret") {
    await page.keyboard.type(character);
    assert.equal(await predicted(page), "", "nothing of a password is shown");
  }
  await page.keyboard.press("Enter");
  await shows(page, "got-6");

  // A full-screen program draws wherever it likes.
  await type(page, "tput smcup; printf 'full\\n'; cat");
  await shows(page, "full");
  await page.keyboard.type("abc");
  await eventually("it is echoed", async () => (await screen(page)).some((text) => text === "abc"));
  await page.keyboard.type("def");
  assert.equal(await predicted(page), "");
});
