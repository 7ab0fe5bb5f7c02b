// The page below a path, as a proxy shows it: signing in, its cookie, events, terminals and links.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newShell, row, shows, stage, type, visit } from "./support.js";

process.env.STAYD_BASE_PATH = "/stayd";
const stayd = stage();

test("the page works below a path, and all that it asks for lies there", async () => {
  const { server, context } = stayd;
  const page = await visit(context);
  const elsewhere = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (!pathname.startsWith("/stayd")) elsewhere.push(pathname);
  });
  page.on("websocket", (socket) => {
    const { pathname } = new URL(socket.url());
    if (!pathname.startsWith("/stayd/api/")) elsewhere.push(pathname);
  });
  // Without the last slash the browser is sent to the page, with the token that it does not show.
  await page.goto(`${server.origin}/stayd#token=${server.token}`);
  await newShell(page);
  await type(page, "echo $((6*7))-answer");
  await shows(page, /42-answer/);
  assert.equal(new URL(page.url()).pathname, "/stayd/");
  const cookies = await context.cookies(`${server.origin}/stayd/`);
  assert.deepEqual(cookies.map(({ path }) => path), ["/stayd/"]);
  assert.deepEqual(await context.cookies(`${server.origin}/other/`), []);

  // Events come, and the cookie is enough for a page that is opened later.
  const other = await server.api("POST", "/sessions", { name: "other", command: ["cat"] });
  await row(page, other.id).waitFor();
  await page.reload();
  await shows(page, /42-answer/);

  await page.locator("#share").click();
  await page.locator("#share-send").click();
  const link = page.locator("#share-made-text");
  await link.waitFor();
  assert.match(await link.inputValue(), new RegExp(`^${server.origin}/stayd/#share=`));
  assert.deepEqual(elsewhere, []);
});
