// Clients of another size than the session's: they follow the cursor, move the view, and zoom to fit.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fingers } from "./fingers.js";
import { eventually, newShell, says, shows, stage, type, visit } from "./support.js";

const stayd = stage();

/** A window with room for less than the session of another has, which looks on. */
async function looker(context, id, size = { width: 480, height: 420 }) {
  const page = await visit(context, stayd.server.url);
  await page.setViewportSize(size);
  await page.goto(`${stayd.server.origin}/#/s/${id}?ro`);
  await says(page, /View only/);
  return page;
}

const seen = (page) => page.locator(".frame").evaluate(({ scrollLeft, scrollTop }) => ({ scrollLeft, scrollTop }));

/** Whether the whole of an element is in the visible part of the terminal. */
const isSeen = (page, selector) =>
  page.locator(".frame").evaluate((frame, selector) => {
    const inner = frame.querySelector(selector)?.getBoundingClientRect();
    const outer = frame.getBoundingClientRect();
    return inner !== undefined && inner.left >= outer.left - 1 && inner.right <= outer.right + 1 && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  }, selector);

const followed = (page) => eventually("the cursor is seen", () => isSeen(page, ".xterm-cursor"));

test("a smaller window follows the cursor, until the user moves the view", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const viewer = await looker(context, id);
  const { cols, rows } = await server.session(id);
  await type(page, "clear; seq 100");
  await shows(viewer, "100");
  await followed(viewer);
  assert.ok((await seen(viewer)).scrollTop > 50, "the last line is below what fits");
  await page.keyboard.type("x".repeat(70));
  await eventually("it goes to the right", async () => (await seen(viewer)).scrollLeft > 50);
  await followed(viewer);
  for (let key = 0; key < 70; key += 1) await page.keyboard.press("Backspace");
  await eventually("and back", async () => (await seen(viewer)).scrollLeft === 0);

  const box = await viewer.locator(".frame").boundingBox();
  const drag = async (dy, button = "left") => {
    const [x, y] = [box.x + 200, box.y + box.height / 2];
    await viewer.mouse.move(x, y);
    await viewer.mouse.down({ button });
    await viewer.mouse.move(x, y + dy, { steps: 5 });
    await viewer.mouse.up({ button });
  };
  await drag(150);
  const moved = await seen(viewer);
  assert.ok(!(await isSeen(viewer, ".xterm-cursor")), "the cursor is not seen any more");
  assert.equal(await viewer.locator(".xterm-selection > div").count(), 0, "nothing is selected");
  await type(page, "echo more-$((1))");
  await shows(viewer, "more-1");
  assert.deepEqual(await seen(viewer), moved, "output does not move what the user looks at");
  await drag(-160, "middle");
  await eventually("the view is back", () => isSeen(viewer, ".xterm-cursor"));
  await type(page, "clear");
  await eventually("it follows again", async () => (await seen(viewer)).scrollTop === 0);
  assert.deepEqual(await server.session(id).then((session) => [session.cols, session.rows]), [cols, rows]);
});

test("the whole terminal fits on wish, and the session's size stays", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const { cols, rows } = await server.session(id);
  const viewer = await looker(context, id);
  await type(page, "clear; printf '%*s\\n' $((COLUMNS - 1)) corner; seq 100; echo done-$((1))");
  await shows(viewer, "done-1");
  const zoom = viewer.getByRole("button", { name: "Zoom to fit" });
  assert.equal(await zoom.getAttribute("aria-pressed"), "false");
  assert.ok(!(await isSeen(viewer, ".xterm-screen")));
  await zoom.click();
  await eventually("all of it is seen", () => isSeen(viewer, ".xterm-screen"));
  assert.equal(await zoom.getAttribute("aria-pressed"), "true");
  const share = await viewer.locator(".frame").evaluate((frame) => {
    const { width, height } = frame.querySelector(".xterm-screen").getBoundingClientRect();
    return Math.max(width / frame.clientWidth, height / frame.clientHeight);
  });
  assert.ok(share > 0.85, `it fills the window: ${share}`);
  await viewer.setViewportSize({ width: 700, height: 300 });
  await eventually("in another window, too", () => isSeen(viewer, ".xterm-screen"));
  assert.deepEqual(await server.session(id).then((session) => [session.cols, session.rows]), [cols, rows]);
  await zoom.click();
  await eventually("it is larger again", async () => !(await isSeen(viewer, ".xterm-screen")));
  // With its size set to this window there is nothing to fit.
  await server.api("POST", `/sessions/${id}/resize`, { cols: 40, rows: 8 });
  await eventually("smaller terminals are enlarged, too", async () => (await viewer.locator("#status-size").innerText()) === "40 × 8");
  const before = (await viewer.locator(".xterm-screen").boundingBox()).width;
  await zoom.click();
  await eventually("it grows", async () => (await viewer.locator(".xterm-screen").boundingBox()).width > before + 30);
  assert.ok(await isSeen(viewer, ".xterm-screen"));
});

test("on a phone a finger moves the view before it scrolls", async () => {
  const { browser, context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await type(page, "clear; seq 300; echo done-$((1))");
  await shows(page, "done-1");
  const phone = await browser.newContext({ viewport: { width: 390, height: 400 }, isMobile: true, hasTouch: true });
  const viewer = await looker(phone, id, { width: 390, height: 400 });
  await shows(viewer, "done-1");
  await followed(viewer);
  for (const name of ["Type here too", "Zoom to fit"]) {
    const { x, width } = await viewer.getByRole("button", { name }).boundingBox();
    assert.ok(x >= 0 && x + width <= 390, `${name} is on the screen: ${x} + ${width}`);
  }
  const { scrollTop } = await seen(viewer);
  const top = async () => Number(await viewer.locator(".xterm-rows > div").first().innerText());
  const first = await top();
  const fingers = await Fingers.on(viewer);
  fingers.down({ x: 200, y: 150 });
  await fingers.slide({ x: 120, y: 200 });
  const after = await seen(viewer);
  assert.ok(Math.abs(scrollTop - after.scrollTop - 50) < 3 && after.scrollLeft > 60, JSON.stringify({ scrollTop, after }));
  assert.equal(await top(), first, "the scrollback is where it was");
  await fingers.slide({ x: 120, y: 390 });
  await fingers.slide({ x: 120, y: 650 });
  await eventually("at its end the scrollback follows", async () => (await top()) < first);
  await fingers.up();
  await phone.close();
});
