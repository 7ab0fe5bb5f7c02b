// Who waits for a person: the list sorts them to the top, and answers without opening the terminal.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, row, stage, visit } from "./support.js";

const stayd = stage();

/** A program that keeps each line that it gets, and ends with the session. */
const asker = (server, name) => server.api("POST", "/sessions", { name, command: ["sh", "-c", "while read -r x; do echo \"got:$x\"; done"] });
const report = (server, id, state, message) => server.api("POST", `/sessions/${id}/attention`, { state, message });
const order = (page) => page.locator("#sessions .row-name").allTextContents();

test("who asks something is at the top with message and age, is counted, and is answered from the list", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const first = await asker(server, "first");
  const second = await asker(server, "second");
  const third = await asker(server, "third");
  await row(page, third.id).waitFor();
  assert.deepEqual((await order(page)).slice(0, 3), ["third", "second", "first"]);

  await report(server, first.id, "blocked", "May I run rm?");
  await row(page, first.id).getByText("May I run rm?").waitFor();
  await report(server, second.id, "blocked", "And this?");
  await row(page, second.id).getByText("And this?").waitFor();
  assert.deepEqual((await order(page)).slice(0, 3), ["first", "second", "third"], "the longest waiting first");
  await row(page, first.id).getByText(/^waits for you \d+ s$/).waitFor();
  await eventually("both are counted", async () => (await page.title()).startsWith("(2) "));

  // The key leads to the longest waiting, and then to the next.
  await page.keyboard.press("Alt+Shift+W");
  await opened(page, first.id);
  await page.keyboard.press("Alt+Shift+W");
  await opened(page, second.id);
  await page.keyboard.press("Alt+Shift+W");
  await opened(page, first.id);

  // An answer is typed once, into the session that asks; what is typed for others stays.
  const answer = (id) => page.locator(`#sessions li:has(a[href="#/s/${id}"]) input`);
  await answer(second.id).fill("no");
  await answer(first.id).fill("yes, do");
  await answer(first.id).press("Enter");
  await server.api("GET", `/sessions/${first.id}/screen?wait=text:got&format=json`);
  const screen = await server.api("GET", `/sessions/${first.id}/screen?format=json`);
  const text = screen.lines.map((runs) => runs.map((run) => run.text).join("")).join("\n");
  assert.equal(text.match(/got:yes, do/g).length, 1, text);
  // Without rules, an answer is all that is known: it works.
  await row(page, first.id).getByText(/^working/).waitFor();
  await answer(first.id).waitFor({ state: "hidden" });
  assert.equal(await answer(second.id).inputValue(), "no");
  assert.deepEqual((await order(page))[0], "second");

  await report(server, second.id, "done", "all of it");
  await row(page, second.id).getByText(/^done \d+ s ago$/).waitFor();
  await report(server, second.id, "working");
  await eventually("nobody waits", async () => !(await page.title()).startsWith("("));
  await page.keyboard.press("Alt+Shift+W");
  await page.getByText("Nobody waits for you.").waitFor();
});

test("an onlooker sees who asks and cannot answer", async () => {
  const { context, server } = stayd;
  const { id } = await asker(server, "asks");
  await report(server, id, "blocked", "May I?");
  const { token } = await server.api("POST", "/tokens", { name: "looker", role: "viewer" });
  const page = await visit(context, `${server.origin}/#token=${token}`);
  await row(page, id).getByText("May I?").waitFor();
  assert.equal(await page.locator("#sessions .row-answer input:visible").count(), 0);
});
