// The page on a phone: touch, a narrow screen, a keyboard without Escape.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, openId, says, screen, shows, stage, visit } from "./support.js";

const stayd = stage({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });

const tapKey = (page, name) => page.getByRole("toolbar", { name: "Keys" }).getByRole("button", { name, exact: true }).tap();

test("the list is a drawer, every target is large enough, and nothing is wider than the screen", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await page.getByRole("button", { name: "Sessions" }).tap();
  await page.locator("#side").waitFor();
  const checked = [];
  const check = async () => {
    for (const button of await page.locator("button:visible:not(.skip), #sessions a:visible, summary:visible").all()) {
      const box = await button.boundingBox();
      const name = (await button.getAttribute("aria-label")) ?? (await button.innerText());
      if (box === null) continue;
      checked.push(name);
      assert.ok(box.width >= 40 && box.height >= 40, `${name}: ${box.width}×${box.height}`);
    }
    const { scroll, width } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
    assert.ok(scroll <= width && width === 390, `the page is ${scroll} wide on ${width}`);
  };
  await check();
  await page.locator(`a[href="#/s/${id}"]`).tap();
  await page.locator("#side").waitFor({ state: "hidden" });
  await check();
  await page.locator("#share").tap();
  await page.locator("#share-send").tap();
  await page.locator("#share-list button").waitFor();
  await check();
  await page.locator("#share-close").tap();
  await page.locator("#account").tap();
  await check();
  await page.locator("#account-tokens").tap();
  await page.locator("#token-new").waitFor();
  await check();
  assert.ok(checked.length > 15, checked.join(", "));
  const { cols } = await server.session(id);
  assert.ok(cols >= 48, `${cols} columns`);
});

test("a profile is started with two taps", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await page.locator("#new-more").tap();
  const entry = page.getByRole("menuitem", { name: "shell" });
  const { width, height } = await entry.boundingBox();
  assert.ok(width >= 40 && height >= 40, `${width}×${height}`);
  await entry.tap();
  await says(page, /Attached/);
  assert.equal((await server.session(openId(page))).profile, "shell");
  await page.locator("#side").waitFor({ state: "hidden" });
});

test("a link to look only shows the session's name, and no keys", async () => {
  const { browser, server } = stayd;
  const { id } = await server.api("POST", "/sessions", { name: "shared", command: ["sh"] });
  const { url } = await server.api("POST", `/sessions/${id}/shares`, { mode: "ro" });
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  const page = await visit(context, url);
  await says(page, /View only/);
  assert.ok(await page.locator("#account").getByText(/look only · until/).isVisible());
  assert.ok((await page.locator("#title").boundingBox()).width > 30, "the name has room");
  assert.ok(!(await page.locator("#keybar, #menu, #side").locator("visible=true").count()));
  const { scroll } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth }));
  assert.ok(scroll <= 390, `${scroll} px`);
  await context.close();
});

test("a bar has the keys that a phone lacks", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("echo one-$((1))\n");
  await shows(page, "one-1");
  await tapKey(page, "Up");
  await shows(page, /echo one-\$\(\(1\)\)$/);
  assert.equal(await page.evaluate(() => document.activeElement.className), "xterm-helper-textarea", "the keyboard stays");
  await page.keyboard.press("Enter");
  await eventually("it ran twice", async () => (await screen(page)).filter((line) => line === "one-1").length === 2);

  await page.keyboard.type("sleep 1000\n");
  await eventually("it sleeps", async () => (await screen(page)).some((line) => line.endsWith("sleep 1000")));
  await tapKey(page, "Control, for the next key");
  await page.locator("#keybar [aria-pressed=true]").waitFor();
  await page.keyboard.type("c");
  await shows(page, /\^C/);
  assert.equal(await page.locator("#keybar [aria-pressed=true]").count(), 0, "one key, then it is let go");
  await page.keyboard.type("cat\n");
  await tapKey(page, "Control C: interrupt");
  await page.keyboard.type("echo done-$((2))\n");
  await shows(page, "done-2");
  assert.equal(openId(page), id);
});

test("no field makes the phone zoom, and the page makes room for the keyboard", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  for (const selector of [".xterm-helper-textarea", "#search", "#find-text", "#palette-text", "#create-command", "#login-token"]) {
    const size = await page.locator(selector).evaluate((field) => parseFloat(getComputedStyle(field).fontSize));
    assert.ok(size >= 16, `${selector}: ${size} px`);
  }
  const rows = (await screen(page)).length;
  // A phone's keyboard that makes the page smaller looks like this.
  await page.setViewportSize({ width: 390, height: 500 });
  await eventually("the terminal is smaller", async () => (await screen(page)).length < rows - 10);
  const bar = await page.getByRole("toolbar", { name: "Keys" }).boundingBox();
  assert.ok(bar.y + bar.height <= 500, "the keys are above the keyboard");
  await says(page, /Attached/);
});

test("a keyboard that lies over the page hides neither the cursor nor the keys", async () => {
  const { context, server } = stayd;
  // Phones that do not make the page smaller tell only of a smaller visual viewport.
  await context.addInitScript(() => {
    const viewport = new EventTarget();
    Object.assign(viewport, { scale: 1, height: 844, width: 390, offsetTop: 0 });
    Object.defineProperty(window, "visualViewport", { value: viewport });
    window.keyboard = (height) => {
      viewport.height = 844 - height;
      viewport.dispatchEvent(new Event("resize"));
    };
  });
  const page = await visit(context, server.url);
  await newShell(page);
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("seq 200; echo last-$((1))\n");
  await shows(page, "last-1");
  const rows = (await screen(page)).length;
  await page.evaluate(() => window.keyboard(340));
  await eventually("the terminal is smaller", async () => (await screen(page)).length < rows - 15);
  await shows(page, "last-1");
  const bottom = async (selector) => {
    const { y, height } = await page.locator(selector).boundingBox();
    return y + height;
  };
  await eventually("the cursor is above the keys", async () => (await bottom(".xterm-cursor")) <= (await page.locator("#keybar").boundingBox()).y);
  assert.ok((await bottom("#keybar")) <= 504, "the keys are above the keyboard");
  await page.evaluate(() => window.keyboard(0));
  await eventually("the terminal is as large as before", async () => (await screen(page)).length === rows);
});
