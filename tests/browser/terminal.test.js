// The terminal on the page: search, clipboard, links, view-only, control and WebGL.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, says, shows, stage, type, visit } from "./support.js";

const stayd = stage({ permissions: ["clipboard-read", "clipboard-write"] });

test("text is found in the scrollback", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "echo needle-$((1)); seq 200; echo needle-$((2))");
  await shows(page, "needle-2");
  await page.keyboard.press("Control+Shift+F");
  await page.keyboard.type("needle-");
  // The output contains the text twice, and so does the command line that was typed.
  await page.locator("#find-count").getByText(/^\d of \d$/).waitFor();
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.press("Shift+Enter");
  await shows(page, "needle-1");
  await page.locator("#find-text").fill("no such text");
  await page.locator("#find-count").getByText("none").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.type("echo back-$((3))\n");
  await shows(page, "back-3");
});

test("a program copies when the user agrees, and never reads the clipboard", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  const copy = (text) => type(page, `printf '\\033]52;c;${Buffer.from(text).toString("base64")}\\a'; echo asked`);

  await copy("from it");
  const question = page.getByRole("region", { name: /wants to copy/ });
  await question.getByText("from it").waitFor();
  assert.equal(await clipboard(), "mine", "nothing is copied before");
  await question.getByRole("button", { name: "No" }).click();
  await question.waitFor({ state: "hidden" });
  assert.equal(await clipboard(), "mine");

  await copy("grüße");
  await question.getByText("grüße").waitFor();
  await page.keyboard.press("Alt+Shift+C");
  await page.keyboard.press("Enter");
  await eventually("it is copied", async () => (await clipboard()) === "grüße");
  await copy("second");
  await question.getByRole("button", { name: "Always for this session" }).click();
  await eventually("it is copied", async () => (await clipboard()) === "second");
  await copy("third");
  await eventually("it is copied without a question", async () => (await clipboard()) === "third");
  assert.ok(!(await question.isVisible()));

  // A query of the clipboard gets no answer, and a reload does not repeat an old request.
  await type(page, "clear; printf '\\033]52;c;?\\a'; read -rsd '' -t 1 answer; echo \"got:$answer.\"");
  await shows(page, "got:.");
  await page.reload();
  await opened(page, id);
  await shows(page, "got:.");
  assert.ok(!(await question.isVisible()));
});

test("what a program wants to copy is shown as it is, and cannot be replaced while it is shown", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const osc = (text) => `printf '\\033]52;c;${Buffer.from(text).toString("base64")}\\a'`;
  const question = page.locator("#copy-question");
  const shown = page.locator("#copy-question-text");
  const first = "ls\x1b[31m\n\u202erm\u200b";
  await type(page, `${osc(first)}; ${osc("second")}; ${osc("x".repeat(5000))}; echo asked-$((1))`);
  await shows(page, "asked-1");
  assert.equal(await shown.innerText(), "ls␛[31m␊<U+202E>rm<U+200B>");
  await question.getByRole("button", { name: "Allow once" }).click();
  await eventually("the text that was shown is copied", async () => (await clipboard()) === first);
  // Of those that came meanwhile, the latest is asked about, and is not agreed to by a double click.
  await shown.getByText(/^x{120}… \(5000 characters\)$/).waitFor();
  assert.ok(await question.getByRole("button", { name: "Allow once" }).isDisabled());
  await question.getByRole("button", { name: "No" }).click();
  await question.waitFor({ state: "hidden" });
  assert.equal(await clipboard(), first);
});

test("a selection is copied and pasted with the terminal's keys", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "clear; echo copy-$((7))");
  await shows(page, "copy-7");
  const line = page.locator(".xterm-rows > div", { hasText: /^copy-7$/ });
  const { x, y, height } = await line.boundingBox();
  await page.mouse.dblclick(x + 8, y + height / 2);
  await page.keyboard.press("Control+Shift+C");
  await eventually("the word is in the clipboard", async () => /copy/.test(await page.evaluate(() => navigator.clipboard.readText())));
  await page.evaluate(() => navigator.clipboard.writeText("echo pasted-$((8))"));
  await page.keyboard.press("Control+Shift+V");
  await shows(page, /echo pasted/);
  await page.keyboard.press("Enter");
  await shows(page, "pasted-8");
});

test("http addresses open in a tab without access to this one, other addresses do not open", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, `clear; printf '\\033]8;;javascript:document.title=1\\a%s\\033]8;;\\a\\n' bad-link; echo ${server.origin}/healthz`);
  await shows(page, `${server.origin}/healthz`);
  const title = await page.title();
  const at = async (text) => {
    const { x, y, height } = await page.locator(".xterm-rows > div", { hasText: text }).first().boundingBox();
    return [x + 20, y + height / 2];
  };
  await page.mouse.move(...(await at(/^bad-link/)));
  await page.mouse.click(...(await at(/^bad-link/)));
  await page.mouse.move(...(await at(/^http/)));
  await page.locator("#link-target").getByText("/healthz").waitFor();
  const [tab] = await Promise.all([context.waitForEvent("page"), page.mouse.click(...(await at(/^http/)))]);
  await tab.waitForLoadState();
  assert.equal(tab.url(), `${server.origin}/healthz`);
  assert.equal(await tab.evaluate(() => window.opener), null);
  assert.equal(await page.title(), title);
  assert.equal(context.pages().length, 2);
});

test("a view-only client sees everything and types nothing", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const { cols } = await server.session(id);
  const viewer = await visit(context, `${server.origin}/#/s/${id}?ro`);
  await viewer.setViewportSize({ width: 800, height: 500 });
  await says(viewer, /View only, cannot type/);
  await type(viewer, "echo from the viewer");
  await type(page, "echo from-$((1))");
  await shows(viewer, "from-1");
  assert.ok(!(await shows(page, "from-1")).some((line) => line.includes("viewer")));
  assert.equal((await server.session(id)).cols, cols, "its window does not count");

  await viewer.getByRole("button", { name: "Type here too" }).click();
  await says(viewer, /Attached/);
  await type(viewer, "echo from-$((2))");
  await shows(page, "from-2");
  await viewer.keyboard.press("Alt+Shift+K");
  await viewer.keyboard.type("view only");
  await viewer.keyboard.press("Enter");
  await says(viewer, /View only, cannot type/);
});

test("control of the size is taken and taken back, without typing", async () => {
  const { context, server } = stayd;
  const large = await visit(context, server.url);
  const id = await newShell(large);
  const { cols } = await server.session(id);
  const small = await visit(context, `${server.origin}/#/s/${id}`);
  await small.setViewportSize({ width: 760, height: 480 });
  await says(small, /2 clients/);
  await eventually("the newer window's size counts", async () => (await server.session(id)).cols < cols - 20);
  await large.getByRole("button", { name: "Take control" }).click();
  await eventually("the first one's again", async () => (await server.session(id)).cols === cols);
  await says(small, /Take control/);
  await large.getByRole("button", { name: "Take control" }).waitFor({ state: "hidden" });
  await small.getByRole("button", { name: "Take control" }).click();
  await eventually("and back", async () => (await server.session(id)).cols < cols - 20);
  assert.equal((await server.session(id)).active_connections, 2);
  const { transitions } = await server.api("GET", `/sessions/${id}/transitions`);
  assert.ok(!transitions.some(({ to_status }) => to_status === "IDLE"), "nobody was away meanwhile");
  await type(large, "echo both-$((2))");
  await shows(small, "both-2");
});

test("WebGL draws, and the DOM takes over when the context is lost", async () => {
  const { context, server } = stayd;
  await context.addInitScript(() => localStorage.setItem("stayd-renderer", "webgl"));
  const page = await visit(context, server.url);
  page.expected.push(/WebGL|webgl|GPU stall/);
  await page.locator("#new").click();
  await says(page, /Attached/);
  const canvas = page.locator(".xterm-screen canvas").last();
  await canvas.waitFor();
  await page.locator(".xterm-rows").waitFor({ state: "detached" });
  const stage = page.locator("#stage");
  const before = await stage.screenshot();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("echo drawn-$((5))\n");
  await eventually("the picture changes", async () => !before.equals(await stage.screenshot()));
  await page.evaluate(() => {
    for (const canvas of document.querySelectorAll(".xterm-screen canvas")) {
      canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    }
  });
  await shows(page, "drawn-5");
});
