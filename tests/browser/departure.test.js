// Leaving a session: the page says until when it stays, and how to keep it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, says, stage, visit } from "./support.js";

const stayd = stage();

const notice = (page) => page.locator("#departure");
/** The time, with the date if that is not today's: in the last half hour of a day it is tomorrow's. */
function clock(at) {
  const end = new Date(at);
  const [hour, minute] = ["2-digit", "2-digit"];
  if (end.toDateString() === new Date().toDateString()) return end.toLocaleTimeString("en-US", { hour, minute });
  return `${end.toLocaleDateString("en-US", { dateStyle: "medium" })}, ${end.toLocaleTimeString("en-US", { hour, minute })}`;
}

test("whoever leaves a session is told when it ends, and keeps it by a click", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const first = await newShell(page);
  await server.api("PATCH", `/sessions/${first}`, { name: "work" });
  await says(page, /stays 30 min after you leave/);
  assert.ok(!(await notice(page).isVisible()));
  const second = await newShell(page);
  await notice(page).getByText(/^work ends at /).waitFor();
  const { destroy_at } = await server.session(first);
  assert.equal(await page.locator("#departure-text").innerText(), `work ends at ${clock(destroy_at)} unless somebody attaches.`);
  assert.equal(await page.evaluate(() => document.activeElement.className), "xterm-helper-textarea", "the keyboard stays in the terminal");
  await notice(page).getByRole("button", { name: "Keep for good" }).click();
  await notice(page).waitFor({ state: "hidden" });
  await eventually("it is kept", async () => (await server.session(first)).destroy_at === null);
  assert.equal((await server.session(first)).idle_timeout_s, null);

  await page.goto(`${server.origin}/#/s/${first}`);
  await opened(page, first);
  await says(page, /kept for good/);
  await notice(page).getByText(/ends at /).waitFor();
  // Nothing is said when the kept session is left, and the notice of the other one is gone.
  await page.goto(`${server.origin}/#/s/${second}`);
  await opened(page, second);
  await eventually("the first has nobody", async () => (await server.session(first)).active_connections === 0);
  await page.locator("#sessions").getByText("idle", { exact: true }).waitFor();
  assert.ok(!(await notice(page).isVisible()));
});

test("nothing is said while somebody else stays, nor of a session that is opened again", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const shared = await newShell(page);
  const other = await visit(context, `${server.origin}/#/s/${shared}`);
  await says(other, /2 clients/);
  const next = await newShell(page);
  await eventually("only the other is attached", async () => (await server.session(shared)).active_connections === 1);
  await says(other, /1 client/);
  await page.locator("#sessions").getByText(/^active · 1 client$/).waitFor();
  assert.ok(!(await notice(page).isVisible()));
  // Looking only is another attachment of the same session.
  await page.goto(`${server.origin}/#/s/${next}?ro`);
  await says(page, /View only/);
  assert.ok(!(await notice(page).isVisible()));
});
