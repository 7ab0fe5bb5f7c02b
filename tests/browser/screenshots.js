// Takes the screenshots in `docs/`, from real sessions: `npm run screenshots`.

import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Fingers } from "./fingers.js";
import { eventually, launch, row, says, screen, Server, shows, visit } from "./support.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const docs = join(root, "docs");

/** The prompt and aliases of the shells, so that the screenshots look the same on every machine. */
const BASHRC = `PS1='\\[\\e[1;32m\\]dev\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]$ '
HISTFILE=
alias ls='ls --color -C' log='git --no-pager -c core.abbrev=7 log --no-merges --oneline --color'
`;
/** A file with a failing test, for a session that ended with a failure. */
const TEST = `import { test } from "node:test";
import assert from "node:assert/strict";

const grace = (left, now) => Math.max(0, 1800 - (now - left));

test("counts down from the last detach", () => assert.equal(grace(0, 60), 1740));
test("never goes below zero", () => assert.equal(grace(0, 4000), 0));
test("starts again when somebody comes back", () => assert.equal(grace(600, 600), 1800));
test("is kept over a restart of the server", () => assert.equal(grace(0, 90), 1700));
`;
const VIM = "set termguicolors background=dark number ruler title titlestring=%f laststatus=2 | syntax on | colorscheme habamax | hi Normal guibg=NONE | hi LineNr guibg=NONE";

const browser = await launch();
const server = await Server.start();
const work = join(server.dir, "stayd");

const start = (name, command, more = {}) => server.api("POST", "/sessions", { name, command, cwd: work, cols: 112, rows: 38, ...more });
const typeInto = (id, text) => server.api("POST", `/sessions/${id}/input`, text);
const until = (id, pattern) => server.api("GET", `/sessions/${id}/screen?format=json&wait=${encodeURIComponent(`regex:${pattern}`)}`);
const context = (options) => browser.newContext({ colorScheme: "dark", locale: "en-GB", reducedMotion: "reduce", ...options });

async function picture(page, name) {
  const path = join(docs, name);
  await page.screenshot({ path });
  try {
    execFileSync("pngquant", ["--force", "--skip-if-larger", "--ext", ".png", "--speed", "1", path]);
  } catch {
    // Without pngquant the file is only larger.
  }
}

/** Opens a session and waits until it is attached. */
async function look(page, id) {
  await page.goto(`${server.origin}/#/s/${id}`);
  await page.locator(`a[href="#/s/${id}"][aria-current="page"]`).waitFor({ state: "attached" });
  await says(page, /Attached/);
}

try {
  execFileSync("git", ["clone", "-q", "--shared", root, work]);
  await mkdir(join(work, "tests"), { recursive: true });
  await writeFile(join(server.dir, ".bashrc"), BASHRC);
  await writeFile(join(work, "grace.test.mjs"), TEST);

  const failed = await start("unit tests", ["node", "--test", "--test-reporter=spec", "grace.test.mjs"], {
    labels: { branch: "grace" },
    env: { NODE_OPTIONS: "--stack-trace-limit=0" },
  });
  await eventually("the tests are over", async () => (await server.session(failed.id)).ended_at !== null);
  const build = await start("build", ["sh"], { labels: { branch: "grace" } });
  const monitor = await start("monitor", ["top", "-d", "5"], { idle_timeout_s: null, labels: { host: "db1" } });
  const python = await start("notebook", ["python3", "-q"]);
  const editor = await start("editor", ["vim", "-n", "-u", "NONE", "-c", VIM, "src/lifecycle/machine.rs"]);
  const agent = await start("agent", ["sh"]);
  await server.api("POST", `/sessions/${agent.id}/attention`, { state: "blocked", message: "May I run “rm -rf target”?" });
  const shell = await start("release", ["bash"], { idle_timeout_s: null, labels: { team: "core" } });
  await typeInto(python.id, "import math\rmath.tau\r");
  await until(python.id, "6\\.28");
  await until(monitor.id, "load average");
  await until(editor.id, "machine\\.rs");

  const desk = await context({ viewport: { width: 1280, height: 800 } });
  const page = await visit(desk, server.url);
  await page.locator("#sessions > li").nth(5).waitFor();
  await look(page, editor.id);
  await look(page, python.id);
  await look(page, shell.id);
  const prompts = async () => (await screen(page)).filter((line) => line.endsWith("$") || line.includes("$ ")).length;
  const lines = ["ls", "log -14 | cut -c1-104", "wc -l src/*/*.rs | sort -rn | head -6"];
  for (const [done, line] of lines.entries()) {
    await eventually("a prompt", async () => (await prompts()) === done + 1 && (await screen(page)).filter(Boolean).at(-1).endsWith("$"));
    await page.locator(".xterm-helper-textarea").focus();
    await page.keyboard.type(`${line}\n`);
  }
  await eventually("the last prompt", async () => (await prompts()) === lines.length + 1);
  await typeInto(build.id, "printf '\\033]9;finished in 41 s\\a'\r");
  await row(page, build.id).getByText("finished in 41 s").waitFor();
  await page.getByText("Ended", { exact: true }).click();
  await page.locator(`#ended-list a[href="#/s/${failed.id}"]`).waitFor();
  const other = await visit(await context({ viewport: { width: 1280, height: 800 } }), server.url);
  await other.goto(`${server.origin}/#/s/${shell.id}?ro`);
  await row(page, shell.id).getByText("you + 1").waitFor();
  // The notice about the session that was left does not belong into this picture.
  if (await page.locator("#departure-close").isVisible()) await page.locator("#departure-close").click();
  await page.locator(".xterm-helper-textarea").focus();
  await page.locator(".lists").evaluate((lists) => (lists.scrollTop = 0));
  await picture(page, "screenshot.png");

  await page.locator("#new-more").click();
  await page.getByRole("menuitem", { name: "Other…" }).click();
  await page.locator("#create-name").fill("preview");
  await page.locator("#create-cwd").fill("/srv/www");
  await page.locator("#create-labels").fill("team=web, preview");
  await page.locator("#create-pin").check();
  await page.locator("#create-command").fill("python3 -m http.server 8000 -d 'My Site'");
  await picture(page, "screenshot-new.png");
  await page.keyboard.press("Escape");

  await page.locator(`#ended-list a[href="#/s/${failed.id}"]`).click();
  await page.locator("#panel").getByText("exited with code 1").waitFor();
  await shows(page, /failing tests/);
  await picture(page, "screenshot-ended.png");

  const wide = await visit(await context({ viewport: { width: 1280, height: 800 } }), server.url);
  await look(wide, editor.id);
  await wide.keyboard.press("Alt+Shift+Digit2");
  await wide.keyboard.press("Alt+Shift+ArrowRight");
  await wide.locator(`a[href="#/s/${monitor.id}"]`).click();
  await says(wide, /Attached/);
  await eventually("the editor has half of the room", async () => (await server.session(editor.id)).cols < 70);
  await wide.locator("#settings-open").click();
  await wide.locator("#settings-theme").selectOption("nord");
  await wide.locator("#settings-scrollback-hint").getByText(/1000 lines/).waitFor();
  await picture(wide, "screenshot-panes.png");
  await wide.close();

  const pocket = await context({ viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  const phone = await visit(pocket, server.url);
  await look(phone, editor.id);
  await shows(phone, /machine\.rs/);
  await phone.keyboard.type("/pub fn\n");
  await shows(phone, /pub fn new/);
  const fingers = await Fingers.on(phone);
  const word = await phone.locator(".xterm-rows > div", { hasText: "pub fn new" }).first().boundingBox();
  fingers.down({ x: word.x + 145, y: word.y + word.height / 2 });
  await phone.locator(".frame.pressed").waitFor();
  await fingers.up();
  await phone.getByRole("toolbar", { name: "Selection" }).waitFor();
  await picture(phone, "screenshot-phone.png");
} finally {
  await browser.close();
  await server.stop();
}
