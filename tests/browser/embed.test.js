// examples/embed.html, which docs/embedding.md shows: a page of another origin that has only the
// cookie of stayd's own page. Needs `npm ci` in `examples`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually, launch, screen, Server, shows, type, visit } from "./support.js";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const missing = !existsSync(`${examples}/node_modules/@xterm/addon-attach`);
const skip = missing && !process.env.STAYD_REQUIRE_EXAMPLES && "run npm ci in examples";

const types = { html: "text/html", js: "text/javascript", css: "text/css" };
let browser;
let pages;
let server;

before(async () => {
  pages = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    try {
      const body = await readFile(examples + path);
      response.setHeader("content-type", types[path.split(".").pop()] ?? "text/plain");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));
  process.env.STAYD_ALLOWED_ORIGINS = origin();
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  pages?.close();
});

const origin = (host = "127.0.0.1") => `http://${host}:${pages.address().port}`;
const page = (host) => `${origin(host)}/embed.html?stayd=ws://${server.address}`;

test("an own page attaches with the cookie alone, and reconnects", { skip }, async () => {
  const context = await browser.newContext();
  const own = await visit(context, server.url);
  await own.locator("#new").waitFor();
  const embedded = await visit(context, page());
  await shows(embedded, /[$#]$/);
  await type(embedded, "echo $((6*7)); kept=here");
  await shows(embedded, "42");
  await server.kill();
  await server.up(server.address);
  await eventually("it is back", async () => (await server.session("embedded")).active_connections === 1);
  await type(embedded, "echo again $kept");
  await shows(embedded, "again here");
  const once = (await screen(embedded)).filter((line) => line === "42");
  assert.equal(once.length, 1, "drawn anew, not once more");
  await type(embedded, "exit");
  await shows(embedded, /do not retry/);
  await context.close();
});

test("neither a browser without the cookie nor a page of another site attaches", { skip }, async () => {
  const stranger = await browser.newContext();
  const strange = await visit(stranger, page());
  await eventually("it is refused", () => strange.errors.some((error) => /401|Authentication failed/.test(error)));
  await stranger.close();

  const context = await browser.newContext();
  const own = await visit(context, server.url);
  await own.locator("#new").waitFor();
  const foreign = await visit(context, page("localhost"));
  await eventually("it is refused", () => foreign.errors.some((error) => error.includes("403")));
  await assert.rejects(server.session("embedded"), /404/);
  await context.close();
});
