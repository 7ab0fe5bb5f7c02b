// A real server on a free port with a state directory of its own, and a real browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** How long anything may take on a busy machine; nothing here waits that long when it works. */
export const PATIENCE_MS = 20_000;

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The program under test: `STAYD_BIN`, else the newest kind of build there is. */
function program() {
  const built = ["release", "debug"].map((kind) => join(root, "target", kind, "stayd"));
  const found = process.env.STAYD_BIN ?? built.find((path) => existsSync(path));
  if (!found) throw new Error("no stayd to test: run `cargo build`, or set STAYD_BIN");
  return found;
}

/** Asks until the answer is there; the last problem is the error after the deadline. */
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
  /** Starts one; `stop` takes everything of it away. */
  static async start() {
    const server = new Server();
    server.dir = await mkdtemp(join(tmpdir(), "stayd-browser-"));
    await server.up("127.0.0.1:0");
    return server;
  }

  /** Starts the server process on this address and waits until it answers. */
  async up(listen) {
    this.log = "";
    this.child = spawn(program(), ["serve", "--listen", listen, "--state-dir", this.dir], {
      stdio: ["ignore", "pipe", "pipe"],
      // A plain shell, whatever the account's own looks like.
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
    this.token = (await readFile(join(this.dir, "token"), "utf8")).trim();
  }

  get origin() {
    return `http://${this.address}`;
  }

  /** The address that signs in, as `stayd url` prints it. */
  get url() {
    return `${this.origin}/#token=${this.token}`;
  }

  /** `kill -9`. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  /** A call of the HTTP interface. */
  async api(method, path, body) {
    const response = await fetch(`${this.origin}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      // Text is typed as it is.
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }

  session(id) {
    return this.api("GET", `/sessions/${id}`);
  }

  /** Ends server, holder and sessions. */
  async stop() {
    const stop = spawn(program(), ["stop", "--all", "--state-dir", this.dir], { stdio: "ignore" });
    await new Promise((resolve) => stop.once("exit", resolve));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGTERM");
      const timer = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS);
      await this.exited;
      clearTimeout(timer);
    }
    await rm(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** Chromium of the system; `CHROMIUM` names another. */
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

/** A server and a browser for the tests of a file, and a fresh context for each; after each,
    nothing may have gone wrong in a page that it did not expect. */
export function stage(options = {}) {
  const stage = {};
  before(async () => {
    stage.browser = await launch();
    stage.server = await Server.start();
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

/** Those that the running test has opened. */
let pages = [];

/** A page, and what went wrong in it; what is expected to is told in `page.expected`. */
export async function visit(context, url) {
  const page = await context.newPage();
  pages.push(page);
  page.setDefaultTimeout(PATIENCE_MS);
  page.errors = [];
  // A first visit asks without a login, and the browser itself says that this failed.
  page.expected = [/status of 401/];
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => page.errors.push(String(error)));
  if (url !== undefined) await page.goto(url);
  return page;
}

/** What the terminal shows, line by line, without trailing blanks. */
export async function screen(page) {
  const rows = await page.locator(".xterm-rows > div").allTextContents();
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd());
}

/** Waits for a line of the terminal that matches. */
export function shows(page, pattern) {
  const test = typeof pattern === "string" ? (line) => line === pattern : (line) => pattern.test(line);
  return eventually(`the terminal shows ${pattern}`, async () => {
    const lines = await screen(page);
    if (!lines.some(test)) throw new Error(`it shows:\n${lines.join("\n").trimEnd()}`);
    return lines;
  });
}

/** Waits until the status bar says so. */
export function says(page, text) {
  return eventually(`the status bar says ${text}`, async () => {
    const said = await page.locator("#status").innerText();
    if (!text.test(said)) throw new Error(`it says ${said}`);
    return said;
  });
}

/** Starts a shell from the page and waits until it can be typed into; its id. */
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

/** Waits until this session is the open one and attached: the address alone is ahead of both. */
export async function opened(page, id) {
  await page.locator(`a[href="#/s/${id}"][aria-current="page"]`).waitFor({ state: "attached" });
  await says(page, /Attached/);
}

/** A live session's row in the list. */
export function row(page, id) {
  return page.locator("#sessions > li", { has: page.locator(`a[href="#/s/${id}"]`) });
}

/** The session that the page's address names. */
export function openId(page) {
  return /^#\/s\/(.+)$/.exec(new URL(page.url()).hash)?.[1] ?? "";
}

/** Types a command and Enter. */
export async function type(page, command) {
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(command);
  await page.keyboard.press("Enter");
}
