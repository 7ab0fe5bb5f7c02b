// The page with a shell that tells of its commands.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { eventually, opened, openId, row, says, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage();

/** A bash without a name, in a directory, that has loaded the integration. */
async function shell(page) {
  const { server } = stayd;
  const script = execFileSync(process.env.STAYD_BIN, ["integrate", "bash"], { encoding: "utf8" });
  const env = { PROMPT_COMMAND: 'eval "$STAYD_INTEGRATE"', STAYD_INTEGRATE: script, PS1: "$ " };
  const { id } = await server.api("POST", "/sessions", { command: ["bash", "--norc"], cwd: "/usr/share", env });
  await page.goto(`${server.origin}/#/s/${id}`);
  await opened(page, id);
  await shows(page, "$");
  return id;
}

function called(page, id, name) {
  return eventually(`the row says ${name}`, async () => (await row(page, id).innerText()).includes(name));
}

test("an unnamed session is called after its command and directory, and shows a failure", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await shell(page);
  await called(page, id, "bash · /usr/share");
  await type(page, "cat -");
  await called(page, id, "cat · /usr/share");
  await page.keyboard.press("Control+C");
  await called(page, id, "✗ 130");
  await type(page, "cd /tmp");
  await called(page, id, "bash · /tmp");
  await eventually("no failure is shown", async () => !(await row(page, id).innerText()).includes("✗"));
  await page.close();
});

test("Ctrl+Up and Ctrl+Down go from command to command, and the last output can be copied", async () => {
  const { context, server } = stayd;
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await visit(context, server.url);
  await shell(page);
  await type(page, "seq 100 199");
  await shows(page, "199");
  await type(page, "seq 300 399");
  await shows(page, "399");
  await page.keyboard.press("Control+ArrowUp");
  await eventually("the second command is on top", async () => (await screen(page))[0] === "$ seq 300 399");
  await page.keyboard.press("Control+ArrowUp");
  await eventually("the first command is on top", async () => (await screen(page))[0] === "$ seq 100 199");
  await page.keyboard.press("Control+ArrowDown");
  await eventually("the second command is on top", async () => (await screen(page))[0] === "$ seq 300 399");
  await page.keyboard.press("Control+ArrowDown");
  await shows(page, "399");
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("copy the last");
  await page.keyboard.press("Enter");
  const expected = Array.from({ length: 100 }, (_, at) => `${300 + at}\n`).join("");
  await eventually("the output is in the clipboard", async () => (await page.evaluate(() => navigator.clipboard.readText())) === expected);
});

test("one is told when a command has ended, if one has asked", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await shell(page);
  await type(page, "read line");
  await called(page, id, "read · /usr/share");
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("tell me when");
  await page.keyboard.press("Enter");
  const toast = page.locator("#toast");
  await eventually("it says so", async () => (await toast.innerText()).includes("You hear of it"));
  await type(page, "x");
  await eventually("it has ended", async () => (await toast.innerText()).includes("read line has ended with 0"));
  assert.equal(openId(page), id);
  await says(page, /Attached/);
});
