// Fingers on the terminal, on a phone: scrolling with momentum, selecting, copying and pasting.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fingers } from "./fingers.js";
import { eventually, newShell, openId, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, permissions: ["clipboard-read", "clipboard-write"] });

const top = async (page) => Number((await screen(page))[0]);
const keys = (page) => page.getByRole("toolbar", { name: "Keys" });
const tools = (page) => page.getByRole("toolbar", { name: "Selection" });

/** The place of a text on the terminal: the middle of its first letter. */
async function place(page, text) {
  return page.locator(".xterm-rows").evaluate((rows, text) => {
    const walk = document.createTreeWalker(rows, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node !== null; node = walk.nextNode()) {
      const at = node.data.indexOf(text);
      if (at < 0) continue;
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      const { x, y, width, height } = range.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    }
    throw new Error(`the terminal does not show ${text}`);
  }, text);
}

test("a finger scrolls, the terminal goes on after it, and another finger stops it", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "clear; seq 900; echo done-$((1))");
  await shows(page, "done-1");
  const fingers = await Fingers.on(page);
  const before = await top(page);
  const height = (await page.locator(".xterm-rows > div").first().boundingBox()).height;
  fingers.down({ x: 190, y: 200 });
  await fingers.slide({ x: 190, y: 500 });
  const held = await top(page);
  assert.ok(Math.abs(before - held - 300 / height) <= 1, `300 px of ${height} px: from ${before} to ${held}`);
  await fingers.up();
  await eventually("it goes on", async () => (await top(page)) < held - 5);
  fingers.down({ x: 190, y: 400 });
  await fingers.isDown;
  await page.evaluate(() => new Promise(requestAnimationFrame));
  const stopped = await top(page);
  // Several pictures later it is where it was.
  await page.evaluate(async () => {
    for (let picture = 0; picture < 10; picture += 1) await new Promise(requestAnimationFrame);
  });
  assert.equal(await top(page), stopped);
  await fingers.up();

  await fingers.swipe({ x: 190, y: 600 }, { x: 190, y: 90 });
  await eventually("the other way, too", async () => (await top(page)) > stopped + 20);
  assert.ok(!(await tools(page).isVisible()));
});

test("in full-screen programs a finger is a wheel", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const fingers = await Fingers.on(page);
  await type(page, "seq 900 | less -+X");
  await eventually("less shows the beginning", async () => (await top(page)) === 1);
  await fingers.swipe({ x: 190, y: 600 }, { x: 190, y: 300 });
  await eventually("less has scrolled", async () => (await top(page)) > 10);
  await page.keyboard.type("q");
  await type(page, "clear; printf '\\033[?1000h\\033[?1006h'; cat -v");
  await eventually("cat runs", async () => (await screen(page)).filter(Boolean).length === 0);
  fingers.down({ x: 190, y: 200 });
  await fingers.slide({ x: 190, y: 300 });
  await fingers.up();
  await shows(page, /^\^\[\[<64;\d+;\d+M/);
});

test("a long press selects a word; handles extend it; it is copied and pasted", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const fingers = await Fingers.on(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await type(page, "clear; echo alpha beta-$((2)) gamma delta");
  await shows(page, "alpha beta-2 gamma delta");
  const selected = async () => (await page.locator(".xterm-selection > div").count()) > 0;
  const hold = async (text) => {
    await eventually("nothing is selected", async () => !(await selected()));
    fingers.down(await place(page, text));
    await eventually("the long press selects", selected);
  };
  const press = async (text) => {
    await hold(text);
    await fingers.up();
    await tools(page).waitFor();
  };
  await press("beta-2");
  const copy = tools(page).getByRole("button", { name: "Copy" });
  await copy.tap();
  await eventually("the word is copied", async () => (await clipboard()) === "beta-2");
  await tools(page).waitFor({ state: "detached" });

  await press("beta-2");
  const drag = async (name, text) => {
    const { x, y, width } = await page.getByLabel(name).boundingBox();
    fingers.down({ x: x + width / 2, y: y + 15 });
    const to = await place(page, text);
    await fingers.slide({ x: to.x, y: to.y + 22 });
    await fingers.up();
  };
  await drag("End of the selection", "mma");
  await drag("Beginning of the selection", "pha");
  await copy.tap();
  await eventually("the longer text is copied", async () => (await clipboard()) === "pha beta-2 gam");

  // Without lifting the finger, too.
  await hold("gamma");
  await fingers.slide(await place(page, "delta"));
  await fingers.up();
  await copy.tap();
  await eventually("it is copied", async () => (await clipboard()) === "gamma d");

  await page.evaluate(() => navigator.clipboard.writeText("echo pasted-$((7))"));
  await eventually("nothing is selected", async () => !(await selected()));
  const { x, y } = await place(page, "alpha");
  fingers.down({ x, y: y + 300 });
  await page.locator(".frame.pressed").waitFor();
  await fingers.up();
  assert.ok(!(await copy.isVisible()), "nothing is selected");
  await tools(page).getByRole("button", { name: "Paste" }).tap();
  await shows(page, /echo pasted/);
  await page.keyboard.press("Enter");
  await shows(page, "pasted-7");
});

test("a tap takes a selection away and opens the keyboard", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const fingers = await Fingers.on(page);
  await type(page, "clear; echo word-$((1))");
  await shows(page, "word-1");
  await page.evaluate(() => document.activeElement.blur());
  fingers.down(await place(page, "word-1"));
  await tools(page).waitFor({ state: "detached" });
  await page.locator(".xterm-selection > div").first().waitFor({ state: "attached" });
  await fingers.up();
  await tools(page).waitFor();
  assert.notEqual(await page.evaluate(() => document.activeElement.className), "xterm-helper-textarea", "selecting opens no keyboard");
  await page.touchscreen.tap(200, 500);
  await tools(page).waitFor({ state: "detached" });
  await eventually("the terminal has the focus", () => page.evaluate(() => document.activeElement.className === "xterm-helper-textarea"));
});

test("every key of the bar is reachable, and sends what a keyboard does", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const fingers = await Fingers.on(page);
  await type(page, "clear; cat -v");
  await eventually("cat runs", async () => (await screen(page)).filter(Boolean).length === 0);
  const bar = await keys(page).boundingBox();
  const seen = new Set();
  const look = async () => {
    for (const button of await keys(page).getByRole("button").all()) {
      const { x, width, height } = await button.boundingBox();
      if (x < -1 || x + width > 391) continue;
      assert.ok(width >= 40 && height >= 40, `${await button.innerText()}: ${width}×${height}`);
      seen.add(await button.getAttribute("aria-label"));
    }
  };
  await look();
  assert.ok(!seen.has("End"), "they do not all fit");
  await fingers.swipe({ x: 350, y: bar.y + 20 }, { x: 20, y: bar.y + 20 });
  await eventually("the last key came", async () => {
    await look();
    return seen.has("Paste");
  });
  for (const name of ["Escape", "Tab", "Control, for the next key", "Alt, for the next key", "Left", "Down", "Up", "Right", "Page up", "Page down", "Home", "End"]) {
    assert.ok(seen.has(name), `${name} is not among ${[...seen].join(", ")}`);
  }
  for (const name of ["Page up", "Page down", "Home", "End"]) await keys(page).getByRole("button", { name, exact: true }).tap();
  await page.keyboard.press("Enter");
  await shows(page, "^[[5~^[[6~^[[H^[[F");
});

test("when a phone leaves, the terminal is as large as before at once", async () => {
  const { browser, context, server } = stayd;
  const desk = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  const large = await visit(desk, server.url);
  const id = await newShell(large);
  const { cols, rows } = await server.session(id);
  const phone = await visit(context, `${server.origin}/#token=${server.token}`);
  await phone.goto(`${server.origin}/#/s/${id}`);
  await eventually("the phone's size counts", async () => (await server.session(id)).cols < cols - 20);
  assert.equal(openId(phone), id);
  await phone.close();
  await eventually("the other's again", async () => {
    const session = await server.session(id);
    return session.cols === cols && session.rows === rows;
  });
  await desk.close();
});
