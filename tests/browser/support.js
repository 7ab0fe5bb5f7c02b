// Starts a real server on a free port with its own state directory, and a real browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** The longest wait for anything on a busy machine. A test that works never waits this long. */
export const PATIENCE_MS = 20_000;

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The program under test: `STAYD_BIN`, otherwise the release build, otherwise the debug build. */
function program() {
  const built = ["release", "debug"].map((kind) => join(root, "target", kind, "stayd"));
  const found = process.env.STAYD_BIN ?? built.find((path) => existsSync(path));
  if (!found) throw new Error("no stayd to test: run `cargo build`, or set STAYD_BIN");
  return found;
}

/** Calls `ask` until it returns something; after the deadline it throws with the last problem as its cause. */
export async function eventually(what, ask) {
  const deadline = Date.now() + PATIENCE_MS;
  let problem;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      problem = `got ${answer}`;
    } catch (error) {
      problem = error;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms`, { cause: problem });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export class Server {
  /** Starts a server with its own state directory and these settings (TOML); `stop` removes both. */
  static async start(settings = "") {
    const server = new Server();
    server.dir = await mkdtemp(join(tmpdir(), "stayd-browser-"));
    server.token = randomBytes(16).toString("hex");
    server.tokenFile = `${server.dir}.token`;
    await writeFile(server.tokenFile, `${server.token}\n`, { mode: 0o600 });
    server.config = `${server.dir}.toml`;
    await writeFile(server.config, settings);
    await server.up("127.0.0.1:0");
    return server;
  }

  /** Starts the server process on this address and waits until it answers. */
  async up(listen) {
    this.log = "";
    this.child = spawn(program(), ["serve", "--listen", listen, "--state-dir", this.dir, "--config", this.config, "--admin-token-file", this.tokenFile], {
      stdio: ["ignore", "pipe", "pipe"],
      // A plain shell, so that the account's own settings do not matter.
      env: { ...process.env, SHELL: "/bin/bash", HOME: this.dir, PS1: "$ " },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on("data", (data) => (this.log += data));
    }
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    await eventually("the server answers", async () => {
      if (this.child.exitCode !== null) throw new Error(`the server ended:\n${this.log}`);
      this.address = (await readFile(join(this.dir, "listen"), "utf8")).trim().split(/\s+/)[0];
      return (await fetch(`${this.origin}/healthz`)).ok;
    });
  }

  get origin() {
    return `http://${this.address}`;
  }

  /** The URL that signs in as the owner. */
  get url() {
    return `${this.origin}/#token=${this.token}`;
  }

  /** `kill -9`. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  /** Calls the HTTP API, as the owner or with another token. */
  async api(method, path, body, token = this.token) {
    const response = await fetch(`${this.origin}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      // A string is sent as it is, anything else as JSON.
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }

  session(id) {
    return this.api("GET", `/sessions/${id}`);
  }

  /** Ends the server, the holder and the sessions. */
  async stop() {
    const stop = spawn(program(), ["stop", "--all", "--state-dir", this.dir], { stdio: "ignore" });
    await new Promise((resolve) => stop.once("exit", resolve));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGTERM");
      const timer = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS);
      await this.exited;
      clearTimeout(timer);
    }
    await rm(this.tokenFile, { force: true });
    await rm(this.config, { force: true });
    await rm(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** The system's Chromium; `CHROMIUM` names another one. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Gives the tests of a file a server and a browser, and each test a fresh context. `settings` makes the
    server's settings. After each test it asserts that its pages logged no unexpected error. */
export function stage(options = {}, settings = () => "") {
  const stage = {};
  before(async () => {
    stage.browser = await launch();
    stage.server = await Server.start(await settings());
  });
  after(async () => {
    await stage.browser?.close();
    await stage.server?.stop();
  });
  beforeEach(async () => {
    pages = [];
    stage.context = await stage.browser.newContext({ viewport: { width: 1100, height: 700 }, ...options });
  });
  afterEach(async () => {
    await stage.context?.close();
    for (const page of pages) {
      const unexpected = page.errors.filter((error) => !page.expected.some((pattern) => pattern.test(error)));
      assert.deepEqual(unexpected, [], "errors in the browser's console");
    }
  });
  return stage;
}

/** The pages that the running test has opened. */
let pages = [];

/** Opens a page that records errors; a test adds the errors that it expects to `page.expected`. */
export async function visit(context, url) {
  const page = await context.newPage();
  pages.push(page);
  page.setDefaultTimeout(PATIENCE_MS);
  page.errors = [];
  // The first visit makes a request before the login, and the browser logs its failure. A context of
  // tests is incognito, where Chromium has no push service; the page does without.
  page.expected = [/status of 401/, /Push API in incognito mode/];
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => page.errors.push(String(error)));
  if (url !== undefined) await page.goto(url);
  return page;
}

/** The lines that the terminal shows, without trailing blanks. */
export async function screen(page) {
  const rows = await page.locator(".xterm-rows > div").allTextContents();
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd());
}

/** Waits until a line of the terminal matches; returns all lines. */
export function shows(page, pattern) {
  const test = typeof pattern === "string" ? (line) => line === pattern : (line) => pattern.test(line);
  return eventually(`the terminal shows ${pattern}`, async () => {
    const lines = await screen(page);
    if (!lines.some(test)) throw new Error(`it shows:\n${lines.join("\n").trimEnd()}`);
    return lines;
  });
}

/** Waits until the text of the status bar matches. */
export function says(page, text) {
  return eventually(`the status bar says ${text}`, async () => {
    const said = await page.locator("#status").innerText();
    if (!text.test(said)) throw new Error(`it says ${said}`);
    return said;
  });
}

/** Starts a shell from the page, waits for its prompt and returns its id. */
export async function newShell(page) {
  const before = openId(page);
  await page.locator("#new").click();
  const id = await eventually("a new session has an address", () => {
    const now = openId(page);
    return now !== "" && now !== before && now;
  });
  await opened(page, id);
  await shows(page, /[$#]$/);
  return id;
}

/** Waits until this session is open and attached: the address changes before both. */
export async function opened(page, id) {
  await page.locator(`a[href="#/s/${id}"][aria-current="page"]`).waitFor({ state: "attached" });
  await says(page, /Attached/);
}

/** A live session's row in the list. */
export function row(page, id) {
  return page.locator("#sessions > li", { has: page.locator(`a[href="#/s/${id}"]`) });
}

/** The session id in the page's address. */
export function openId(page) {
  return /^#\/s\/(.+)$/.exec(new URL(page.url()).hash)?.[1] ?? "";
}

/** Types a command and presses Enter. */
export async function type(page, command) {
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(command);
  await page.keyboard.press("Enter");
}
