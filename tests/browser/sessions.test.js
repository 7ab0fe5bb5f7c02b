// The list of sessions, and the page's actions on sessions.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { eventually, newShell, opened, openId, row, says, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage();

test("a command is started from the dialog with all its settings", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await page.locator("#new").waitFor();
  await page.keyboard.press("Alt+Shift+Enter");
  const dialog = page.getByRole("dialog", { name: "New session" });
  await page.keyboard.type("sh -c 'echo in $PWD; read x");
  await page.locator("#create-name").fill("in tmp");
  await page.locator("#create-cwd").fill("/tmp");
  await page.locator("#create-labels").fill("team=web, urgent");
  await dialog.getByLabel("Keep it for good").check();
  await page.keyboard.press("Enter");
  await dialog.getByText("The quote ' is opened but not closed.").waitFor();
  assert.equal(await page.locator("#create-name").inputValue(), "in tmp", "nothing that was typed is lost");

  await page.locator("#create-command").fill("sh -c 'echo in $PWD; read x'");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  await says(page, /Attached/);
  await shows(page, "in /tmp");
  const session = await server.session(openId(page));
  assert.deepEqual(session.command, ["sh", "-c", "echo in $PWD; read x"]);
  assert.deepEqual([session.name, session.cwd, session.idle_timeout_s], ["in tmp", "/tmp", null]);
  assert.deepEqual(session.labels, { team: "web", urgent: "" });
  await row(page, session.id).getByText("team=web").waitFor();
  await row(page, session.id).getByRole("button", { name: "Do not keep in tmp for good" }).waitFor();
});

test("a command that does not start says why, and the dialog keeps it to be corrected", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  page.expected.push(/status of 4\d\d/);
  await page.getByRole("button", { name: /^New session by a profile/ }).click();
  await page.getByRole("menuitem", { name: "Other…" }).click();
  await page.locator("#create-command").fill("no-such-program --at-all");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.locator("#create-error").getByText(/could not be started/).waitFor();
  assert.equal(await page.locator("#create-command").inputValue(), "no-such-program --at-all");
  await page.locator("#create-command").fill("echo mended");
  await page.keyboard.press("Enter");
  await shows(page, "mended");
});

test("events alone keep the list up to date", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await page.route(/sessions\?limit/, (route) => route.abort());
  page.expected.push(/ERR_FAILED/);
  const { id } = await server.api("POST", "/sessions", { name: "elsewhere", command: ["sh", "-c", "read x; printf '\\033]2;a title\\a\\a'; read x; exit 4"] });
  await row(page, id).getByText("elsewhere").waitFor();
  await row(page, id).getByText("running, no client yet").waitFor();
  await server.api("PATCH", `/sessions/${id}`, { name: "here" });
  await row(page, id).getByText("here", { exact: true }).waitFor();
  await server.api("POST", `/sessions/${id}/input`, "\r");
  await row(page, id).getByText("a title").waitFor();
  await row(page, id).getByText("rang").waitFor();

  const other = await visit(context, `${server.origin}/#/s/${id}`);
  await says(other, /Attached/);
  await row(page, id).getByText("active · 1 client").waitFor();
  await row(other, id).getByText("active · you").waitFor();
  await other.close();
  const left = await eventually("a countdown", async () => {
    const text = await row(page, id).locator(".row-status").innerText();
    return /^idle · ends in (29:5\d|30:00)$/.test(text) && text;
  });
  await eventually("it ticks", async () => (await row(page, id).locator(".row-status").innerText()) !== left);
  await server.api("POST", `/sessions/${id}/input`, "\r");
  await row(page, id).waitFor({ state: "detached" });
});

test("sessions are pinned from the header, from their row and from the keyboard", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const pinned = (wanted) =>
    eventually(wanted ? "it is pinned" : "it is not pinned", async () => ((await server.session(id)).idle_timeout_s === null) === wanted);
  await server.api("PATCH", `/sessions/${id}`, { idle_timeout_s: 4321 });
  await page.reload();
  await opened(page, id);
  await page.getByRole("button", { name: "Keep it for good" }).click();
  await pinned(true);
  await row(page, id).hover();
  await row(page, id).getByRole("button", { name: /^Do not keep/ }).click();
  await pinned(false);
  assert.equal((await server.session(id)).idle_timeout_s, 4321, "what it was before");
  // The key does the opposite of what the page knows.
  await page.locator("#pin[aria-pressed=false]").waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.press("Alt+Shift+P");
  await pinned(true);
  await page.locator("#pin[aria-pressed=true]").waitFor();
});

test("labels are changed and searched", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-labels").fill("=x");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("#change-error").getByText(/no name/).waitFor();
  await page.locator("#change-labels").fill("stage=live, eu");
  await page.getByRole("button", { name: "Save" }).click();
  await row(page, id).getByText("stage=live").waitFor();
  assert.deepEqual((await server.session(id)).labels, { stage: "live", eu: "" });
  await page.getByLabel(/^Search sessions/).fill("stage=live");
  assert.equal(await page.locator("#sessions > li").count(), 1);
});

test("a concurrent change is overwritten only after it was shown", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const change = (what) => server.api("PATCH", `/sessions/${id}`, what);
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change").getByLabel("Terminal size").selectOption("fixed, whatever windows attach");
  await change({ labels: { theirs: "" } });
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("#change").waitFor({ state: "hidden" });
  const { labels, size_policy } = await server.session(id);
  assert.deepEqual([labels, size_policy], [{ theirs: "" }, "fixed"], "both changes are there");

  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-name").fill("mine");
  await change({ name: "theirs", idle_timeout_s: 77 });
  await row(page, id).getByText("theirs").first().waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("#change-error").getByText("Now its name is “theirs”. Save again").waitFor();
  assert.equal((await server.session(id)).name, "theirs");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "mine" }).waitFor();
  const { name, idle_timeout_s } = await server.session(id);
  assert.deepEqual([name, idle_timeout_s], ["mine", 77], "what was not touched here is as they have it");
});

test("the command palette opens a session by a few letters, and runs commands", async () => {
  const { context, server } = stayd;
  const { id } = await server.api("POST", "/sessions", { name: "deploy", command: ["sh", "-c", "echo deploying; read x"] });
  const page = await visit(context, server.url);
  const shell = await newShell(page);
  await page.keyboard.press("Alt+Shift+K");
  await page.getByRole("combobox").waitFor();
  await page.keyboard.type("dpl");
  assert.match(await page.getByRole("option", { selected: true }).innerText(), /deploy/);
  await page.keyboard.press("Enter");
  await opened(page, id);
  await shows(page, "deploying");

  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("nothing at all matches this");
  await page.getByText("No session or command matches.").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("combobox").waitFor({ state: "hidden" });
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.type("end deploy");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "End deploy?" }).getByRole("button", { name: "End session" }).click();
  await page.locator("#panel").getByText("ended on request").waitFor();

  // The keyboard focus is back in the terminal, where it was before the palette opened.
  await page.keyboard.press("Alt+Shift+K");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.type("shell");
  await page.keyboard.press("Enter");
  await opened(page, shell);
  await page.keyboard.type("echo typed-$((1))\n");
  await shows(page, "typed-1");
});

test("one tab listens for events for all tabs, and another takes over when it closes", async () => {
  const { context, server } = stayd;
  const one = await visit(context, server.url);
  await one.locator("#new").waitFor();
  const streams = [];
  const two = await visit(context);
  two.on("request", (request) => request.url().endsWith("/events") && streams.push(request));
  await two.goto(server.origin);
  const first = await server.api("POST", "/sessions", { name: "first" });
  await row(two, first.id).waitFor();
  assert.equal(streams.length, 0, "the first tab's stream is enough");
  await one.close();
  await eventually("the second tab listens", () => streams.length === 1);
  const second = await server.api("POST", "/sessions", { name: "second" });
  await row(two, second.id).waitFor();
});

test("ended sessions are listed with how they ended, the newest first, page by page", async () => {
  const { context, server } = stayd;
  for (let n = 0; n < 22; n++) {
    await server.api("POST", "/sessions", { name: `short-${n}`, command: ["sh", "-c", `exit ${n % 3}`] });
  }
  const page = await visit(context, server.url);
  await page.getByText("Ended", { exact: true }).click();
  const ended = page.locator("#ended-list > li");
  await eventually("a page of them", async () => (await ended.count()) === 20);
  await page.getByRole("button", { name: "More" }).click();
  await eventually("the next page", async () => (await ended.count()) >= 22);
  const last = page.locator("#ended-list > li", { hasText: "short-20" });
  assert.match(await last.innerText(), /exit 2/);
  const { id } = await server.api("POST", "/sessions", { name: "late", command: ["true"] });
  await ended.first().getByText("late").waitFor();
  await page.locator(`#ended-list a[href="#/s/${id}"]`).click();
  await page.locator("#panel").getByText("exited with code 0").waitFor();

  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("dialog", { name: "Remove late?" }).getByRole("button", { name: "Remove" }).click();
  await page.locator("#start").waitFor();
  await page.locator(`#ended-list a[href="#/s/${id}"]`).waitFor({ state: "detached" });
  await assert.rejects(server.session(id), /404/);
});

test("an ended session shows its last screen and how it ended, and runs again in its place", async () => {
  const { context, server } = stayd;
  const script = "printf 'run \\033[32m%s\\033[0m\\n' $$; read x; seq 60; echo last words; exit 3";
  const { id } = await server.api("POST", "/sessions", { name: "worker", command: ["sh", "-c", script], restart: "never" });
  await server.api("POST", `/sessions/${id}/input`, "\r");
  await eventually("it has ended", async () => (await server.session(id)).ended_at !== null);

  const page = await visit(context, server.url);
  await page.getByText("Ended", { exact: true }).click();
  await page.locator(`#ended-list a[href="#/s/${id}"]`).click();
  const panel = page.locator("#panel");
  await panel.getByText("exited with code 3").waitFor();
  const lines = await shows(page, "last words");
  assert.ok(lines.includes("60"), lines.join("|"));
  assert.match(await page.locator("#status").innerText(), /Ended/);
  await type(page, "nobody hears this");
  // The scrollback is there as well.
  await page.keyboard.press("Control+Shift+F");
  await page.keyboard.type("run ");
  await shows(page, /^run \d+$/);
  await page.keyboard.press("Escape");

  await panel.getByRole("button", { name: "Run again" }).click();
  await opened(page, id);
  await type(page, "");
  await panel.getByText("exited with code 3").waitFor();
  const { restarts, pid } = await server.session(id);
  assert.equal(restarts, 1);
  await page.reload();
  await panel.getByText("exited with code 3").waitFor();
  await shows(page, "last words");
  await page.keyboard.press("Control+Shift+F");
  await page.keyboard.type(`run ${pid}`);
  await shows(page, `run ${pid}`);
});

test("the page follows a session that its policy restarts", async () => {
  const { context, server } = stayd;
  const { id } = await server.api("POST", "/sessions", { name: "stubborn", command: ["sh", "-c", "echo run $$; read x; exit 1"], restart: "on-failure" });
  const page = await visit(context, server.url);
  await page.goto(`${server.origin}/#/s/${id}`);
  await opened(page, id);
  const first = await server.session(id);
  await shows(page, `run ${first.pid}`);
  await type(page, "");
  const { pid } = await eventually("it runs again", async () => {
    const session = await server.session(id);
    return session.restarts === 1 && session.ended_at === null && session;
  });
  await shows(page, `run ${pid}`);
  await opened(page, id);
  await row(page, id).getByText("started 2 times").waitFor();
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change").getByLabel("When the command ends").selectOption("do not restart it");
  await page.getByRole("button", { name: "Save" }).click();
  await eventually("its policy is another", async () => (await server.session(id)).restart === "never");
});

test("a profile is started from the dialog, recorded, and its recording is saved", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await page.locator("#new-more").click();
  await page.getByRole("menuitem", { name: "Other…" }).click();
  await page.getByRole("radio", { name: "Profile" }).check();
  await page.locator("#create-profile").selectOption("shell");
  await page.locator("#create-profile-hint").getByText("/bin/bash").waitFor();
  await page.locator("#create-recording").selectOption("output");
  await page.locator("#create-restart").selectOption("restart it if it failed");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await says(page, /Attached/);
  await shows(page, /[$#]$/);
  const { profile, recording, restart } = await server.session(openId(page));
  assert.deepEqual([profile, recording, restart], ["shell", "output", "on-failure"]);
  await page.locator("#labels").getByText("recorded").waitFor();
  await type(page, "echo on-the-$((1))st-tape; exit 0");
  const [saved] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save the recording" }).click(),
  ]);
  const tape = await readFile(await saved.path(), "utf8");
  assert.equal(JSON.parse(tape.slice(0, tape.indexOf("\n"))).version, 2);
  assert.match(tape, /on-the-1st-tape/);
});

test("the menu beside “New session” starts a profile, by keyboard and by pointer", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const [opener, menu] = [page.locator("#new-more"), page.getByRole("menu")];
  const focused = () => page.evaluate(() => document.activeElement?.firstChild?.textContent ?? "");
  await opener.focus();
  await page.keyboard.press("ArrowDown");
  await menu.getByRole("menuitem", { name: "shell" }).waitFor();
  assert.equal(await opener.getAttribute("aria-expanded"), "true");
  assert.equal(await focused(), "Other…");
  const names = await menu.getByRole("menuitem").evaluateAll((all) => all.map((one) => one.firstChild.textContent));
  await page.keyboard.press("ArrowUp");
  assert.equal(await focused(), names.at(-1), "around the end");
  await page.keyboard.press("Escape");
  await menu.waitFor({ state: "hidden" });
  assert.equal(await opener.evaluate((one) => one === document.activeElement), true);

  await page.keyboard.press("Enter");
  await menu.getByRole("menuitem", { name: "shell" }).waitFor();
  for (const name of names.slice(0, names.indexOf("shell") + 1)) {
    assert.equal(await focused(), name);
    if (name !== "shell") await page.keyboard.press("ArrowDown");
  }
  await page.keyboard.press("Enter");
  await says(page, /Attached/);
  assert.equal((await server.session(openId(page))).profile, "shell");
  await type(page, "echo typed-$((1))");
  await shows(page, "typed-1");

  await opener.click();
  await menu.waitFor();
  await page.locator("#title").click();
  await menu.waitFor({ state: "hidden" });
  await opener.click();
  await menu.getByRole("menuitem", { name: "Other…" }).click();
  await page.locator("#create-command").waitFor();
  assert.ok(await menu.isHidden());
});

test("what counts as idle is shown where the time is, and set there", async () => {
  const { context, server } = stayd;
  const { id } = await server.api("POST", "/sessions", { command: ["sh"], idle_timeout_s: 1800 });
  const page = await visit(context, server.url);
  await page.goto(`${server.origin}/#/s/${id}`);
  await says(page, /stays 30 min after you leave(?! and)/);
  await page.locator("#edit").click();
  await page.getByLabel("That time runs").selectOption("once it prints nothing and runs no command");
  await page.getByRole("button", { name: "Save" }).click();
  await says(page, /stays 30 min after you leave and it is quiet/);
  assert.equal((await server.session(id)).idle_when, "detached_and_quiet");
  await page.goto(`${server.origin}/#`);
  await row(page, id).getByText(/ends in .* if quiet/).waitFor();
});

test("a session that is unpinned after a reload has its own time again", async () => {
  const { context, server } = stayd;
  const { id } = await server.api("POST", "/sessions", { command: ["sh"], idle_timeout_s: 7200 });
  const page = await visit(context, server.url);
  await page.goto(`${server.origin}/#/s/${id}`);
  await says(page, /stays 2 h after/);
  await page.locator("#pin").click();
  await says(page, /kept for good/);
  await page.reload();
  await says(page, /kept for good/);
  await page.locator("#pin").click();
  await says(page, /stays 2 h after/);
  assert.equal((await server.session(id)).idle_timeout_s, 7200);
});

test("an address may contain a session's name, and an unknown name is reported", async () => {
  const { context, server } = stayd;
  await (await visit(context, server.url)).locator("#new").waitFor();
  const { id } = await server.api("POST", "/sessions", { name: "by name ü", command: ["sh", "-c", "echo found it; read x"] });
  const page = await visit(context, `${server.origin}/#/s/${encodeURIComponent("by name ü")}`);
  await shows(page, "found it");
  assert.equal(openId(page), id, "the address has become one that stays");
  page.expected.push(/status of 404/);
  await page.evaluate(() => (location.hash = "#/s/nobody"));
  await page.getByText("No live session is called “nobody”.").waitFor();
  assert.equal(new URL(page.url()).hash, "");
  await page.getByRole("dialog").getByRole("button", { name: "No", exact: true }).click();
  const fresh = await visit(context, `${server.origin}/#/s/nobody`);
  fresh.expected.push(/status of 404/);
  await fresh.getByText("No live session is called “nobody”.").waitFor();
  await fresh.getByRole("button", { name: "Start it" }).click();
  await shows(fresh, /[$#]$/);
  assert.equal((await server.session("nobody")).id, openId(fresh));
  const looker = await visit(context, `${server.origin}/#/s/${encodeURIComponent("by name ü")}?ro`);
  await shows(looker, "found it");
  assert.equal(new URL(looker.url()).hash, `#/s/${id}?ro`);
});
