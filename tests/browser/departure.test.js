// Leaving a session: the page says until when it stays, and how to keep it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, says, stage, visit } from "./support.js";

const stayd = stage();

const notice = (page) => page.locator("#departure");
const clock = (at) => new Date(at).toLocaleTimeString("en-US", { hour: "2-digit", minute: "2-digit" });

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
  // Of the one that is kept nothing is said when it is left, and of the other no longer.
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
