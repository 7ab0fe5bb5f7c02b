// The page as an installed app: its manifest, and the service worker, which never serves a stale page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, shows, stage, type, visit } from "./support.js";

const stayd = stage({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });

const active = (page) => page.evaluate(async () => (await navigator.serviceWorker.ready).active?.scriptURL);

test("browsers offer to install the page", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  assert.equal(await active(page), `${server.origin}/service-worker.js`);
  const cdp = await context.newCDPSession(page);
  const { url, data, errors } = await cdp.send("Page.getAppManifest");
  assert.equal(url, `${server.origin}/manifest.webmanifest`);
  assert.deepEqual(errors, []);
  const { icons } = JSON.parse(data);
  for (const { src, sizes } of [...icons, { src: "icon-touch-180.png", sizes: "180x180" }]) {
    const size = await page.evaluate(async (src) => {
      const image = new Image();
      image.src = src;
      await image.decode();
      return `${image.naturalWidth}x${image.naturalHeight}`;
    }, `/${src}`);
    assert.equal(size, sizes, src);
  }
  const { installabilityErrors } = await cdp.send("Page.getInstallabilityErrors");
  // The tests' windows are private ones, in which nothing can be installed.
  assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
});

test("the service worker keeps nothing, says that the server is away, and goes on when it is back", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  page.expected.push(/Failed to load resource|ERR_|WebSocket connection|EventSource|status of 503/);
  const id = await newShell(page);
  await type(page, "echo before-$((1))");
  await shows(page, "before-1");
  await active(page);
  await eventually("it serves the page", () => page.evaluate(() => navigator.serviceWorker.controller !== null));
  const visits = [];
  context.on("request", (request) => request.isNavigationRequest() && request.serviceWorker() === null && visits.push(request.url()));
  await page.reload();
  await opened(page, id);
  assert.ok(visits.length > 0);
  assert.deepEqual(await page.evaluate(() => caches.keys()), [], "nothing is stored");

  const { address } = server;
  await server.kill();
  await page.reload();
  await page.getByRole("heading", { name: "The server does not answer" }).waitFor();
  await server.up(address);
  // The page comes by itself, at the same session.
  await opened(page, id);
  await shows(page, "before-1");
});

test("a download is none of the service worker's business", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  // Beside a text the browser looks for an icon.
  page.expected.push(/favicon\.ico/);
  await active(page);
  await eventually("it serves the page", () => page.evaluate(() => navigator.serviceWorker.controller !== null));
  const api = await page.goto(`${server.origin}/healthz`);
  assert.ok(api.ok() && !api.fromServiceWorker());
  const back = await page.goto(`${server.origin}/`);
  assert.ok(back.ok() && back.fromServiceWorker());
});
