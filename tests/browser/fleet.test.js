// Two machines and one page, through a real nats-server: sessions of the other machine are listed,
// started, attached to and come back, and what fails is said.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { hasNats, Nats } from "./nats.js";
import { eventually, newShell, opened, openId, says, screen, Server, shows, stage, type, visit } from "./support.js";

const skip = hasNats() ? false : "there is no nats-server; scripts/test installs one";
let nats;
let other;

const settings = (name, more = "") => `[fleet]\nurl = ["${nats.url}"]\nname = "${name}"\n${more}`;
const stayd = skip
  ? {}
  : stage({}, async () => {
      nats = await Nats.start();
      const profile = '[profile.train]\ncommand = ["sh", "-c", "echo training; read x"]\n';
      other = await Server.start(settings("gpu-1", `labels = { gpu = "yes" }\n${profile}`));
      return settings("desk");
    });
after(async () => {
  await other?.stop();
  await nats?.stop();
});

const section = (page, name) => page.locator("section.machine", { has: page.locator(`#machine-${name}`) });
const row = (page, id) => page.locator("#lists li.row", { has: page.locator(`a[href="#/s/${id}"]`) });

/** Opens the page, and waits until both machines are in its list. */
async function visitFleet() {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  // What the browser logs while a machine is away, or a connection breaks.
  page.expected.push(/status of 503/, /WebSocket connection/, /ERR_/);
  for (const name of ["desk", "gpu-1"]) await section(page, name).getByText(/^online/).waitFor();
  return page;
}

test("a session of the other machine is listed, attached to, typed into and ended", { skip }, async () => {
  const page = await visitFleet();
  const { id } = await other.api("POST", "/sessions", { name: "far" });
  await section(page, "gpu-1").getByText("far", { exact: true }).waitFor();
  await row(page, id).locator("a").click();
  await opened(page, id);
  await shows(page, /[$#]$/);
  await page.locator("#labels").getByText("on gpu-1").waitFor();
  await type(page, "echo typed-$((40 + 2))");
  await shows(page, "typed-42");
  // Renamed there, and here.
  await other.api("PATCH", `/sessions/${id}`, { name: "further" });
  await row(page, id).getByText("further").waitFor();
  await page.getByRole("button", { name: "Change…" }).click();
  await page.locator("#change-name").fill("near");
  await page.getByRole("button", { name: "Save" }).click();
  await row(page, id).getByText("near").waitFor();
  assert.equal((await other.session(id)).name, "near");
  // Who asks there comes to the top here, and is answered from the list.
  await other.api("POST", `/sessions/${id}/attention`, { state: "blocked", message: "Go on?" });
  const asks = page.locator("#sessions > li", { hasText: "Go on?" });
  assert.match(await asks.innerText(), /gpu-1/);
  await other.api("POST", `/sessions/${id}/attention`, { state: "working" });
  await section(page, "gpu-1").locator("li.row", { hasText: "near" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await type(page, "exit 3");
  await page.locator("#panel").getByText("exited with code 3").waitFor();
  await row(page, id).waitFor({ state: "detached" });
});

test("a session is started there by its heading, and in the dialog by labels and by its profile", { skip }, async () => {
  const page = await visitFleet();
  await page.getByRole("button", { name: "New session on gpu-1" }).click();
  await says(page, /Attached/);
  const shell = openId(page);
  assert.equal((await other.session(shell)).id, shell, "it is there");

  const place = async (choice) => {
    await page.getByRole("button", { name: /^New session by a profile/ }).click();
    await page.getByRole("menuitem", { name: /^On another machine/ }).click();
    await page.locator("#create-place").selectOption(choice);
  };
  const started = (before) => eventually("another one is open", () => openId(page) !== before && openId(page));
  await place("=gpu-1");
  await page.locator("#create").getByRole("radio", { name: "Profile" }).check();
  await page.locator("#create-profile option", { hasText: "train" }).waitFor({ state: "attached" });
  await page.locator("#create-profile").selectOption("train");
  await page.locator("#create-yes").click();
  const trained = await started(shell);
  await shows(page, "training");
  await place("labels");
  await page.locator("#create-place-labels").fill("gpu=yes");
  await page.locator("#create-command").fill("sh -c 'echo by labels; read x'");
  await page.locator("#create-yes").click();
  const labelled = await started(trained);
  await shows(page, "by labels");
  await other.session(labelled);

  // A session is found by its machine and its name.
  await other.api("PATCH", `/sessions/${trained}`, { name: "train" });
  await page.goto(`${stayd.server.origin}/#/s/gpu-1/train`);
  await opened(page, trained);
  for (const id of [shell, trained, labelled]) await other.api("DELETE", `/sessions/${id}`);
});

test("a machine that goes is offline with its sessions, and a tab comes back with what was typed meanwhile", { skip }, async () => {
  const page = await visitFleet();
  const { id } = await other.api("POST", "/sessions", { name: "stays" });
  await row(page, id).locator("a").click();
  await opened(page, id);
  await shows(page, /[$#]$/);
  await type(page, "echo before-$((1))");
  await shows(page, "before-1");
  const { address } = other;
  await other.kill();
  await section(page, "gpu-1").getByText(/^offline, last heard \d+ s ago/).waitFor();
  assert.match(await row(page, id).innerText(), /was active|was idle/);
  await says(page, /gpu-1 is not reached since .*; trying again/);
  await type(page, "echo meanwhile-$((2))");
  await says(page, /typing is kept/);
  assert.ok(await page.locator("#panel").isHidden(), "it has not ended");
  await other.up(address);
  await section(page, "gpu-1").getByText(/^online/).waitFor();
  await says(page, /Attached/);
  await shows(page, "meanwhile-2");
  assert.equal((await screen(page)).filter((line) => line === "before-1").length, 1, "nothing is drawn twice");
  await other.api("DELETE", `/sessions/${id}`);
});

test("without NATS this machine's sessions go on, the page says since when, and all comes back", { skip }, async () => {
  const page = await visitFleet();
  const own = await newShell(page);
  await nats.kill();
  await page.getByText(/^directory last heard \d+ s ago$/).waitFor();
  await type(page, "echo alone-$((3))");
  await shows(page, "alone-3");
  await nats.up();
  await page.getByText(/^directory last heard/).waitFor({ state: "hidden" });
  await section(page, "gpu-1").getByText(/^online/).waitFor();
  const { id } = await other.api("POST", "/sessions", { name: "after" });
  await row(page, id).locator("a").click();
  await opened(page, id);
  await other.api("DELETE", `/sessions/${id}`);
  await stayd.server.api("DELETE", `/sessions/${own}`);
});
