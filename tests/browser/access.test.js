// Accessibility: axe finds no violation in any view, and everything works with the keyboard alone.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newShell, opened, openId, row, says, shows, stage, type, visit } from "./support.js";

const stayd = stage({ reducedMotion: "reduce" });
const axe = await readFile(fileURLToPath(new URL("node_modules/axe-core/axe.min.js", import.meta.url)), "utf8");

/** The violations on the page in its present state, one per line. */
async function violations(page) {
  // `evaluate` runs through the debugger. The page's content security policy refuses a script element.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`));
  });
}

for (const colorScheme of ["dark", "light"]) {
  test(`axe finds nothing in any view, ${colorScheme}`, async () => {
    const { server, browser } = stayd;
    const context = await browser.newContext({ viewport: { width: 1100, height: 700 }, colorScheme, reducedMotion: "reduce" });
    const page = await visit(context, server.url);
    const clean = async (what) => assert.deepEqual(await violations(page), [], what);
    await page.locator("#start h2").waitFor();
    await clean("the start screen");

    const named = await server.api("POST", "/sessions", { name: `build ${colorScheme}`, command: ["sh"], labels: { team: "web" }, idle_timeout_s: null });
    const gone = await server.api("POST", "/sessions", { name: `gone ${colorScheme}`, command: ["sh", "-c", "echo last words; exit 3"] });
    await newShell(page);
    await server.api("POST", `/sessions/${named.id}/input`, "printf '\\a'\r");
    await row(page, named.id).getByText("rang").waitFor();
    await page.getByText("Ended", { exact: true }).click();
    await page.locator(`#ended-list a[href="#/s/${gone.id}"]`).waitFor();
    await type(page, "printf '\\033]52;c;aGk=\\a'; printf '\\033[31mred \\033[1;34mblue \\033[90mgrey\\033[0m\\n'");
    await page.locator("#copy-question").waitFor();
    await clean("a terminal, the list and a question about the clipboard");
    await page.keyboard.press("Control+Shift+F");
    await page.keyboard.type("red");
    await page.locator("#find-count").getByText(/of/).waitFor();
    await clean("the find bar");
    await page.keyboard.press("Escape");

    await page.locator("#new-more").click();
    await page.getByRole("menuitem", { name: "shell" }).waitFor();
    await clean("the menu of new sessions");
    await page.keyboard.press("Enter");
    await page.locator("#create-command").fill("'");
    await page.keyboard.press("Enter");
    await page.locator("#create-error").getByText(/quote/).waitFor();
    await clean("the dialog for a new session, with an error");
    await page.locator("label", { hasText: "Profile" }).first().click();
    await clean("the dialog for a new session of a profile");
    await page.keyboard.press("Escape");
    await page.locator("#edit").click();
    await clean("the dialog that changes a session");
    await page.keyboard.press("Escape");
    await page.locator("#settings-open").click();
    await clean("the settings");
    await page.keyboard.press("Escape");
    await page.locator("#panes-2").click();
    await clean("two panes, one of them empty");
    await page.locator("#panes-1").click();
    await page.locator("#share").click();
    await page.locator("#share-send").click();
    await page.locator("#share-list button").waitFor();
    await clean("the dialog that shares, with a link");
    await page.keyboard.press("Escape");
    await page.locator("#account").click();
    await clean("who one is");
    await page.keyboard.press("Escape");
    await page.locator("#end").click();
    await clean("the confirmation before an end");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Alt+Shift+K");
    await page.getByRole("option").first().waitFor();
    await clean("the command palette");
    await page.keyboard.press("Escape");
    await page.locator(`#ended-list a[href="#/s/${gone.id}"]`).click();
    await page.locator("#panel").getByText("exited with code 3").waitFor();
    await clean("an ended session");
    await page.locator("#tokens-link").click();
    await page.locator("#token-new").click();
    await page.locator("#token-name").fill(`axe-${colorScheme}`);
    await clean("the dialog for a new token");
    await page.keyboard.press("Enter");
    await page.locator("#token-list button").first().waitFor();
    await clean("the tokens, with a new one");
    await page.goto(`${server.origin}/#token=wrong`);
    await page.locator("#login-error").getByText(/token/).waitFor();
    await clean("the login");
    await context.close();
  });
}

test("a session is started, named, found and ended without a mouse", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await page.getByRole("button", { name: /^\+? ?New session$/ }).first().waitFor();
  await page.keyboard.press("Alt+Shift+N");
  await says(page, /Attached/);
  const id = openId(page);
  await page.keyboard.type("echo by-$((1))-keyboard\n");
  await shows(page, "by-1-keyboard");
  await page.keyboard.press("Alt+Shift+S");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), `#/s/${id}`);
  // Behind the row, Tab reaches its pin button and its end button.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await row(page, id).getByRole("button", { name: /^Do not keep/ }).waitFor();
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("change");
  await page.keyboard.press("Enter");
  await page.keyboard.type("all keys");
  await page.keyboard.press("Enter");
  await row(page, id).getByText("all keys").waitFor();
  // The event may come before the answer, with which the dialog closes.
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  await opened(page, id);
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("end all keys");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "End all keys?" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("#panel").getByText("ended on request").waitFor();
});

test("screen readers can read the terminal once the user turns that on by keyboard", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "echo words-$((6*7))");
  await shows(page, "words-42");
  const tree = page.locator(".xterm-accessibility-tree");
  assert.equal(await tree.count(), 0);
  const button = page.getByRole("button", { name: "Let screen readers read the terminal" });
  await button.focus();
  await page.keyboard.press("Enter");
  await tree.getByText("words-42", { exact: true }).waitFor();
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  assert.deepEqual(await violations(page), []);
  // The setting survives a reload.
  await page.reload();
  await tree.getByText("words-42", { exact: true }).waitFor();
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("screen readers off");
  await page.keyboard.press("Enter");
  await tree.waitFor({ state: "detached" });
  await page.locator(".xterm-helper-textarea:focus").waitFor();
});
