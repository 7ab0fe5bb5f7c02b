// The page in a real browser against the real server, used as a person would use it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, openId, says, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage();

test("a shell is unchanged after its page was closed", async () => {
  const { context, server } = stayd;
  let page = await visit(context, server.url);
  const id = await newShell(page);
  assert.ok(!page.url().includes("token"), "the token is out of the address");
  await type(page, "echo $((6*7))");
  await shows(page, "42");
  await type(page, "kept=here; echo pid=$$");
  const pid = (await shows(page, /^pid=\d+$/)).find((line) => line.startsWith("pid="));
  await page.close();

  const idle = await eventually("the session is idle", async () => {
    const session = await server.session(id);
    return session.status === "IDLE" && session;
  });
  assert.equal(idle.active_connections, 0);
  const minutes = (Date.parse(idle.destroy_at) - Date.now()) / 60_000;
  assert.ok(minutes > 28 && minutes <= 30.1, `destroyed in ${minutes} min`);

  page = await visit(context, server.origin);
  await says(page, /Attached/);
  assert.equal(openId(page), id, "the last session opens by itself");
  await shows(page, "42");
  await type(page, "echo again $kept pid=$$");
  await shows(page, `again here ${pid}`);
  const active = await server.session(id);
  assert.deepEqual(
    [active.status, active.active_connections, active.destroy_at],
    ["ACTIVE", 1, null],
  );
  await page.reload();
  await shows(page, `again here ${pid}`);
});

test("a replay does not answer old terminal queries into the shell again", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "printf '\\033[c\\033[6n\\033]11;?\\007'; read -rsd '' -t 1 answers; clear; echo asked");
  await shows(page, "asked");
  await page.reload();
  await shows(page, "asked");
  await type(page, "echo clean");
  const lines = await shows(page, "clean");
  assert.ok(!lines.some((line) => /\d+;\d+R|\?1;2c|rgb:/.test(line)), lines.join("\n"));
});

test("two pages share one session", async () => {
  const { context, server } = stayd;
  const one = await visit(context, server.url);
  const id = await newShell(one);
  const two = await visit(context, `${server.origin}/#/s/${id}`);
  await says(two, /2 clients/);
  await says(one, /2 clients/);
  await type(one, "echo from-$((1))");
  await shows(two, "from-1");
  await type(two, "echo from-$((2))");
  await shows(one, "from-2");
  await shows(two, "from-2");
  await two.close();
  await says(one, /Attached[^]*1 client/);
  await type(one, "echo still-$((3))");
  await shows(one, "still-3");
  assert.equal((await server.session(id)).status, "ACTIVE");
});

test("typing during an outage arrives exactly once", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await type(page, "n=0; count() { n=$((n+1)); echo count-$n; }");
  await type(page, "count");
  await shows(page, "count-1");
  const { pid } = await server.session(id);
  const { address } = server;

  page.expected.push(/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|WebSocket connection/);
  await server.kill();
  await says(page, /Reconnecting|Connecting/);
  await type(page, "count");
  await says(page, /typing is kept, not sent yet \(\d+ B\)/);
  await server.up(address);
  await says(page, /Attached/);
  await shows(page, "count-2");
  await type(page, "count");
  const lines = await shows(page, "count-3");
  assert.equal(lines.filter((line) => line === "count-2").length, 1, lines.join("\n"));
  assert.equal((await server.session(id)).pid, pid, "the same process");

  await page.reload();
  await shows(page, "count-3");
  assert.ok(!(await page.getByRole("dialog").isVisible()), "the restarted server knows the login");
});

test("an ended session says how it ended, and offers a new one", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await type(page, "exit 3");
  await says(page, /Ended/);
  await page.getByText("exited with code 3").waitFor();
  assert.equal((await server.session(id)).status, "ERROR");
  await page.reload();
  await page.getByText("exited with code 3").waitFor();
  await page.getByRole("button", { name: "New session like this" }).click();
  await opened(page, await eventually("another session", () => openId(page) !== id && openId(page)));
  assert.deepEqual((await server.session(openId(page))).command, (await server.session(id)).command);
});

test("sessions are switched by click and by keyboard, and ended after a confirmation", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const first = await newShell(page);
  await type(page, "echo the-$((1))st");
  await shows(page, "the-1st");
  const second = await newShell(page);
  assert.notEqual(first, second);
  await page.locator(`a[href="#/s/${first}"]`).click();
  await shows(page, "the-1st");
  await page.keyboard.press("Alt+Shift+ArrowUp");
  await opened(page, second);

  await page.locator("#end").click();
  await page.getByRole("button", { name: "Keep it", exact: true }).click();
  assert.equal((await server.session(second)).status, "ACTIVE");
  await page.locator("#end").click();
  await page.getByRole("dialog").getByRole("button", { name: "End session" }).click();
  await page.locator("#panel").getByText("ended on request").waitFor();
  assert.equal((await server.session(second)).status, "TERMINATED");
  await page.locator(`a[href="#/s/${second}"]`).waitFor({ state: "detached" });
});

test("a session is named and pinned, and found by its name with the keyboard alone", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const first = await newShell(page);
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-name").fill("deep thought");
  await page.getByLabel("When nobody is attached, end it").selectOption("never (keep it for good)");
  await page.keyboard.press("Escape");
  assert.equal((await server.session(first)).name, null, "Escape changes nothing");
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-name").fill("deep thought");
  await page.getByLabel("When nobody is attached, end it").selectOption("never (keep it for good)");
  await page.locator("#change-name").press("Enter");
  await page.getByRole("heading", { name: "deep thought" }).waitFor();
  const { name, idle_timeout_s } = await server.session(first);
  assert.deepEqual([name, idle_timeout_s], ["deep thought", null]);

  const second = await newShell(page);
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-name").fill("deep thought");
  await page.getByRole("button", { name: "Save" }).click();
  page.expected.push(/status of 409/);
  await page.locator("#change-error").getByText(/deep thought/).waitFor();
  assert.equal(await page.locator("#change-name").inputValue(), "deep thought", "what was typed is there");
  await page.keyboard.press("Escape");
  await page.locator(".xterm-helper-textarea:focus").waitFor();

  await page.keyboard.press("Alt+Shift+S");
  await page.getByLabel(/^Search sessions/).focus();
  await page.keyboard.type("nothing like it");
  await page.getByText("No session matches.").waitFor();
  await page.getByLabel(/^Search sessions/).fill("THOUGHT deep");
  await page.locator(`a[href="#/s/${second}"]`).waitFor({ state: "detached" });
  await page.keyboard.press("Enter");
  await opened(page, first);
  await page.locator(`a[href="#/s/${second}"]`).waitFor();
  await type(page, "echo answer-$((6*7))");
  await shows(page, "answer-42");
});

test("the terminal has the size of its window", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const before = await server.session(id);
  assert.ok(before.cols > 80 && before.rows > 24, `${before.cols}x${before.rows}`);
  await type(page, "while sleep 0.1; do clear; stty size; done");
  await page.setViewportSize({ width: 390, height: 700 });
  await eventually("program, server and window agree on a narrower size", async () => {
    const { cols, rows } = await server.session(id);
    const lines = await screen(page);
    return cols < 60 && lines.includes(`${rows} ${cols}`) && lines.length === rows;
  });
});

test("resizing the window sends one resize, over a slow network as well", async () => {
  const { context, server } = stayd;
  const page = await visit(context);
  const sizes = [];
  const slowly = (act) => setTimeout(act, 60);
  await page.routeWebSocket(/attach/, (browser) => {
    const upstream = browser.connectToServer();
    browser.onMessage((message) => {
      if (typeof message === "string" && message.includes('"resize"')) sizes.push(message);
      slowly(() => upstream.send(message));
    });
    upstream.onMessage((message) => slowly(() => browser.send(message)));
  });
  await page.goto(server.url);
  const id = await newShell(page);
  sizes.length = 0;
  await page.setViewportSize({ width: 390, height: 700 });
  await eventually("the session is narrower", async () => (await server.session(id)).cols < 60);
  // The echo of this input arrives after every resize that the first resize may have caused.
  for (const word of ["one", "two", "three"]) {
    await type(page, `echo ${word}`);
    await shows(page, word);
  }
  assert.equal(sizes.length, 1, sizes.join(" "));
});

test("the page asks again after a wrong token", async () => {
  const { context, server } = stayd;
  const page = await visit(context, `${server.origin}/#token=wrong`);
  const form = page.getByRole("dialog");
  await form.getByText("stayd url").first().waitFor();
  assert.ok(!page.url().includes("wrong"), "the token is out of the address");
  await page.getByLabel("Token or address").fill("wrong again");
  await page.keyboard.press("Enter");
  await form.getByText("This token is not valid").waitFor();
  // The form said so before; until the answer it takes nothing.
  await page.locator("#login-send:enabled").waitFor();
  await page.getByLabel("Token or address").fill(server.url);
  await page.keyboard.press("Enter");
  await form.waitFor({ state: "hidden" });
  await newShell(page);
});

test("the address of an unknown session says so", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await page.locator("#new").waitFor();
  page.expected.push(/status of 404/);
  await page.goto(`${server.origin}/#/s/0190d3c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f`);
  await page.locator("#panel").getByText("No such session").waitFor();
  assert.deepEqual(await screen(page).then((lines) => lines.filter(Boolean)), []);
});
