// Sessions that need attention: the tab's title and icon, and the browser's notifications.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, row, shows, stage, type, visit } from "./support.js";

const stayd = stage();

/** A shell that executes what is typed into it, line by line. */
const listener = (server, name) => server.api("POST", "/sessions", { name, command: ["sh"] });
const tell = (server, id, line) => server.api("POST", `/sessions/${id}/input`, `${line}\r`);

test("a bell is counted in the title and the icon until the user opens the session", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const { id } = await listener(server, "ringer");
  const other = await listener(server, "teller");
  await row(page, other.id).waitFor();
  assert.match(await page.title(), /^[^(]/);
  const icon = () => page.locator("#icon").getAttribute("href");
  assert.equal(await icon(), "favicon.svg");

  await tell(server, id, "printf '\\a'");
  await eventually("the title counts one", async () => (await page.title()).startsWith("(1) "));
  await eventually("the icon has a dot", async () => (await icon()).startsWith("data:image/svg"));
  await tell(server, other.id, "printf '\\033]9;the build is done\\a'");
  await row(page, other.id).getByText("the build is done").waitFor();
  await eventually("the title counts two", async () => (await page.title()).startsWith("(2) "));

  await page.locator(`a[href="#/s/${id}"]`).click();
  await opened(page, id);
  await eventually("one is left", async () => (await page.title()).startsWith("(1) "));
  await page.locator(`a[href="#/s/${other.id}"]`).click();
  await eventually("none is left", async () => !(await page.title()).startsWith("("));
  assert.equal(await icon(), "favicon.svg");
  // A bell in the session that the user sees raises no alert.
  await type(page, "printf '\\a'; echo rung-$((1))");
  await shows(page, "rung-1");
  assert.ok(!(await page.title()).startsWith("("));
});

test("notifications are turned on by a click, say what happened and open the session", async () => {
  const { context, server } = stayd;
  await context.grantPermissions(["notifications"]);
  // A test cannot see the system's notifications, so a class stands in for them.
  await context.addInitScript(() => {
    window.told = [];
    const asked = Notification.requestPermission.bind(Notification);
    window.Notification = class {
      static permission = "default";
      static async requestPermission() {
        window.asked = await asked();
        this.permission = "granted";
        return "granted";
      }
      constructor(title, options) {
        Object.assign(this, options, { title });
        window.told.push(this);
      }
      close() {}
    };
  });
  const page = await visit(context, server.url);
  await newShell(page);
  const { id } = await listener(server, "worker");
  await row(page, id).waitFor();
  await tell(server, id, "printf '\\a'");
  await row(page, id).getByText("rang").waitFor();
  assert.equal(await page.evaluate(() => window.told.length), 0, "nobody asked for them");

  await page.getByRole("button", { name: /^Notify me/ }).click();
  await page.getByRole("button", { name: /^Notifications are on/ }).waitFor();
  await tell(server, id, "printf '\\033]777;notify;Tests;all passed\\a'");
  await eventually("a notification", () => page.evaluate(() => window.told.length === 1));
  const [{ title, body }] = await page.evaluate(() => window.told.map(({ title, body }) => ({ title, body })));
  assert.deepEqual([title, body], ["worker", "Tests: all passed"]);
  await page.evaluate(() => window.told[0].onclick());
  await opened(page, id);
  const end = await listener(server, "short");
  await row(page, end.id).waitFor();
  await tell(server, end.id, "exit 7");
  await eventually("its end", () => page.evaluate(() => window.told.some(({ title, body }) => title === "short" && body.includes("code 7"))));
});

test("a session that falls quiet after work raises an alert, one that only echoed does not", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const { id } = await listener(server, "long work");
  const echo = await listener(server, "echo");
  await row(page, echo.id).waitFor();
  // Output that lasts longer than ten seconds counts as work.
  await tell(server, id, "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo $i; sleep 1; done");
  await tell(server, echo.id, "echo short");
  await row(page, id).getByText("fell quiet").waitFor({ timeout: 40_000 });
  assert.equal(await row(page, echo.id).getByText("fell quiet").count(), 0);
});
