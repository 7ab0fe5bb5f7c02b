// Several sessions side by side, and the order of the list: both are remembered.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, openId, says, stage, visit } from "./support.js";

const stayd = stage({ viewport: { width: 1300, height: 760 } });

const pane = (page, name) => page.getByRole("region", { name, exact: true });
const lines = async (page, name) => (await pane(page, name).locator(".xterm-rows > div").allTextContents()).map((line) => line.replaceAll("\u00a0", " ").trimEnd());
const showsIn = (page, name, text) => eventually(`${name} shows ${text}`, async () => (await lines(page, name)).includes(text) || Promise.reject(new Error((await lines(page, name)).join("\n"))));
const order = async (page) => (await page.locator("#sessions .row-name").allInnerTexts()).join(" ");

/** Starts shells with these names; the first is the oldest. */
async function shells(...names) {
  const ids = [];
  for (const name of names) ids.push((await stayd.server.api("POST", "/sessions", { name, command: ["sh"] })).id);
  return ids;
}

test("two sessions are side by side, each with its own keys, and are so after a reload", async () => {
  const { context, server } = stayd;
  const [left, right] = await shells("left", "right");
  const page = await visit(context, server.url);
  await page.locator(`a[href="#/s/${left}"]`).click();
  await says(page, /Attached/);
  const { cols } = await eventually("it has a size", async () => {
    const session = await server.session(left);
    return session.active_connections === 1 && session;
  });
  await page.getByRole("button", { name: "Two sessions side by side" }).click();
  await eventually("it has half of the room", async () => (await server.session(left)).cols < cols / 2 + 5);
  await pane(page, "Empty pane").click();
  assert.equal(openId(page), "");
  await page.locator(`a[href="#/s/${right}"]`).click();
  await says(page, /Attached/);
  assert.equal(openId(page), right);
  await page.keyboard.type("echo from-right-$((1))\n");
  await showsIn(page, "right", "from-right-1");
  await page.keyboard.press("Alt+Shift+ArrowLeft");
  assert.equal(openId(page), left);
  await page.locator("#title").getByText("left").waitFor();
  await page.keyboard.type("echo from-left-$((2))\n");
  await showsIn(page, "left", "from-left-2");
  assert.ok(!(await lines(page, "right")).some((line) => line.includes("left")));
  // A program asks in the name of its session, wherever the keyboard is.
  await server.api("POST", `/sessions/${right}/input`, "printf '\\033]52;c;aGk=\\a'\r");
  await page.getByRole("region", { name: "The program in right wants to copy to the clipboard" }).getByRole("button", { name: "No" }).click();
  // A click moves the keyboard, too, and the row of a session that is open goes to its pane.
  await pane(page, "right").locator(".xterm-screen").click();
  assert.equal(openId(page), right);
  await page.locator(`a[href="#/s/${left}"]`).click();
  await page.locator(`a[href="#/s/${left}"][aria-current="page"]`).waitFor();
  await page.keyboard.type("echo again-$((3))\n");
  await showsIn(page, "left", "again-3");
  assert.equal((await server.session(right)).active_connections, 1, "the other stays attached");

  await page.reload();
  await showsIn(page, "right", "from-right-1");
  await showsIn(page, "left", "again-3");
  assert.equal(openId(page), left);
  await page.keyboard.type("echo after-$((4))\n");
  await showsIn(page, "left", "after-4");

  // A tab that is opened by a session's address shows that one alone; a visit without one shows the panes.
  const linked = await visit(context, `${server.origin}/#/s/${left}?ro`);
  await says(linked, /View only/);
  assert.equal(await linked.locator(".pane").count(), 1);
  assert.equal((await server.session(right)).active_connections, 1);
  await linked.close();
  const fresh = await visit(context, server.origin);
  await showsIn(fresh, "right", "from-right-1");
  assert.equal(await fresh.locator(".pane").count(), 2);
  await fresh.close();

  await page.getByRole("button", { name: "One session" }).click();
  await eventually("the other is left", async () => (await server.session(right)).active_connections === 0);
  await page.locator("#departure-text").getByText(/^right ends at/).waitFor();
  // xterm.js rounds the width of a cell by the number of columns that there are.
  await eventually("all of the room again", async () => Math.abs((await server.session(left)).cols - cols) <= 1);
});

test("four sessions; one ends, one is closed, one is dragged into an empty pane", async () => {
  const { context, server } = stayd;
  const ids = await shells("one", "two", "three", "four", "five");
  const page = await visit(context, server.url);
  await page.goto(`${server.origin}/#/s/${ids[0]}`);
  await says(page, /Attached/);
  await page.keyboard.press("Alt+Shift+Digit4");
  for (const at of [1, 2, 3]) {
    await page.keyboard.press("Alt+Shift+ArrowRight");
    await page.locator(`a[href="#/s/${ids[at]}"]`).click();
    await says(page, /Attached/);
  }
  await eventually("all are attached", async () => (await Promise.all(ids.slice(0, 4).map((id) => server.session(id)))).every((session) => session.active_connections === 1));
  const boxes = await Promise.all(["one", "two", "three", "four"].map((name) => pane(page, name).boundingBox()));
  assert.ok(boxes[1].x > boxes[0].x + 300 && boxes[2].y > boxes[0].y + 200 && Math.abs(boxes[3].x - boxes[1].x) < 2, JSON.stringify(boxes));

  await server.api("DELETE", `/sessions/${ids[1]}`);
  await eventually("it has ended", async () => (await server.session(ids[1])).ended_at !== null);
  assert.ok(!(await page.locator("#panel").isVisible()), "the pane with the focus says nothing of it");
  await pane(page, "two").locator(".xterm-screen").click();
  await page.locator("#panel").getByText("Session ended").waitFor();
  await pane(page, "three").locator(".xterm-screen").click();
  await page.locator("#panel").waitFor({ state: "hidden" });

  await pane(page, "three").getByRole("button", { name: "Close this pane; the session goes on" }).click();
  await eventually("nobody is attached", async () => (await server.session(ids[2])).active_connections === 0);
  assert.equal((await server.session(ids[2])).ended_at, null);
  await page.locator(`a[href="#/s/${ids[4]}"]`).dragTo(pane(page, "Empty pane"));
  await eventually("it is attached", async () => (await server.session(ids[4])).active_connections === 1);
  await page.keyboard.type("echo dropped-$((5))\n");
  await showsIn(page, "five", "dropped-5");
  const box = await pane(page, "five").boundingBox();
  assert.ok(Math.abs(box.x - boxes[2].x) < 2 && Math.abs(box.y - boxes[2].y) < 2, "in the place of the one that was closed");
});

test("a new session opens in an empty pane, and in the focused one where none is empty", async () => {
  const { context, server } = stayd;
  const [first] = await shells("first");
  const page = await visit(context, server.url);
  await page.locator(`a[href="#/s/${first}"]`).click();
  await says(page, /Attached/);
  await page.keyboard.press("Alt+Shift+Digit2");
  await pane(page, "Empty pane").waitFor();
  await pane(page, "first").locator(".xterm-screen").click();
  await page.locator("#new").click();
  await pane(page, "Empty pane").waitFor({ state: "detached" });
  await eventually("both are attached", async () => (await server.api("GET", "/sessions")).sessions.filter((one) => one.active_connections === 1).length === 2);
  assert.equal((await server.session(first)).active_connections, 1, "the focused one stays");
  const second = openId(page);
  assert.notEqual(second, first);
  await page.keyboard.type("echo second-$((2))\n");
  await eventually("the keys go to the new one", async () => (await page.locator(".pane[data-focused] .xterm-rows").innerText()).includes("second-2"));
  await page.locator("#new").click();
  await eventually("it takes the place of the focused one", async () => (await server.session(second)).active_connections === 0);
  assert.equal((await server.session(first)).active_connections, 1);
});

test("the list is ordered by drag and by keyboard, and stays so", async () => {
  const { context, server } = stayd;
  for (const { id } of (await server.api("GET", "/sessions")).sessions) await server.api("DELETE", `/sessions/${id}`);
  await shells("a", "b", "c");
  const page = await visit(context, server.url);
  await eventually("the newest is first", async () => (await order(page)) === "c b a");
  const row = (name) => page.locator("#sessions > li", { has: page.getByText(name, { exact: true }) });
  await row("a").locator("a").dragTo(row("c"), { targetPosition: { x: 60, y: 4 } });
  await eventually("it is dragged to the top", async () => (await order(page)) === "a c b");
  await row("c").locator("a").focus();
  await page.keyboard.press("Alt+ArrowDown");
  await eventually("it is moved down", async () => (await order(page)) === "a b c");
  await page.keyboard.press("Alt+ArrowUp");
  await page.keyboard.press("Alt+ArrowUp");
  await eventually("and to the top", async () => (await order(page)) === "c a b");
  await shells("d");
  await eventually("a new one comes first", async () => (await order(page)) === "d c a b");
  await page.reload();
  await eventually("the order stays", async () => (await order(page)) === "d c a b");
  // The keys go through the sessions as they are listed.
  await row("c").locator("a").click();
  await says(page, /Attached/);
  await page.keyboard.press("Alt+Shift+ArrowDown");
  await page.locator("#title").getByText("a", { exact: true }).waitFor();
});

test("a narrow window shows one session, and the layout comes back with the room", async () => {
  const { context, server } = stayd;
  const [first, second] = await shells("first", "second");
  const page = await visit(context, server.url);
  await page.goto(`${server.origin}/#/s/${first}`);
  await says(page, /Attached/);
  await page.keyboard.press("Alt+Shift+Digit2");
  await page.keyboard.press("Alt+Shift+ArrowRight");
  await page.locator(`a[href="#/s/${second}"]`).click();
  await says(page, /Attached/);
  await page.setViewportSize({ width: 600, height: 760 });
  await eventually("the one with the focus stays", async () => (await server.session(first)).active_connections === 0);
  assert.equal((await server.session(second)).active_connections, 1);
  assert.ok(!(await page.getByRole("button", { name: "Two sessions side by side" }).isVisible()));
  await page.setViewportSize({ width: 1300, height: 760 });
  await eventually("both are open again", async () => (await server.session(first)).active_connections === 1);
  assert.equal(openId(page), second);
});
