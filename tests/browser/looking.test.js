// Whether somebody looks at the page: the server knows, and calls nobody for what is looked at.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { eventually, newShell, stage, visit } from "./support.js";

/** Where the hook writes a line for each event. */
let told;
const stayd = stage({}, async () => {
  told = await mkdtemp(join(tmpdir(), "stayd-looking-"));
  return `[[hook]]\non = ["blocked"]\ncommand = ["sh", "-c", "cat >> ${told}/lines; echo >> ${told}/lines"]\n`;
});
after(() => rm(told, { recursive: true, force: true }));

const lines = async () => (await readFile(join(told, "lines"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));

test("a page behind another one is not looked at, and only then a hook is run", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  // The tests' browser says of every page that it has the focus, unless it is told not to.
  const cdp = await context.newCDPSession(page);
  await cdp.send("Emulation.setFocusEmulationEnabled", { enabled: false });
  const looking = async (expected) => eventually(`looking is ${expected}`, async () => (await server.session(id)).clients[0].looking === expected);
  const report = (state, message) => server.api("POST", `/sessions/${id}/attention`, { state, message });
  await page.bringToFront();
  await looking(true);
  await report("blocked", "seen");
  const counted = async () => {
    const metrics = await (await fetch(`${server.origin}/metrics`, { headers: { authorization: `Bearer ${server.token}` } })).text();
    return metrics.includes('stayd_hook_deliveries_total{outcome="looked_at"} 1');
  };
  await eventually("the hook is passed over", counted);

  const other = await visit(context);
  await other.bringToFront();
  await looking(false);
  await report("blocked", "not seen");
  await eventually("the hook has run", async () => (await lines()).length === 1);
  assert.equal((await lines())[0].attention.message, "not seen");

  await page.bringToFront();
  await looking(true);
  // A page that attaches again says it again.
  await other.bringToFront();
  await looking(false);
  page.expected.push(/Failed to load resource|ERR_|WebSocket connection|EventSource/);
  await server.kill();
  await server.up(server.address);
  await eventually("it is attached again", async () => (await server.session(id)).clients.length === 1);
  await looking(false);
});
