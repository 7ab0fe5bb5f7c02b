// Files that are dropped or pasted onto the terminal.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Line } from "./line.js";
import { eventually, opened, says, screen, shows, stage, visit } from "./support.js";

const stayd = stage();
let directory;
before(async () => (directory = await mkdtemp(join(tmpdir(), "stayd-files-"))));
after(() => rm(directory, { recursive: true, force: true }));

/** Opens a cat, which shows what is typed, in the directory. */
async function cat(page, origin = stayd.server.origin) {
  const { id } = await stayd.server.api("POST", "/sessions", { command: ["cat"], cwd: directory });
  await page.goto(`${origin}/#/s/${id}`);
  await opened(page, id);
  return id;
}

/** Drops files of so many bytes onto the terminal, or pastes them. */
function give(page, how, files) {
  return page.locator(".frame").evaluate(
    (frame, [kind, all]) => {
      const data = new DataTransfer();
      for (const [name, size] of all) data.items.add(new File([new Uint8Array(size).map((_, at) => at % 251)], name));
      const target = frame.querySelector("textarea");
      const init = { bubbles: true, cancelable: true };
      if (kind === "paste") return target.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: data }));
      frame.dispatchEvent(new DragEvent("dragenter", { ...init, dataTransfer: data }));
      target.dispatchEvent(new DragEvent("drop", { ...init, dataTransfer: data }));
    },
    [how, files],
  );
}

test("dropped files are uploaded and their paths are typed", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await cat(page);
  await give(page, "drop", [["it's one.txt", 10], ["two.bin", 1_500_000]]);
  await eventually("both paths are typed", async () => {
    const text = (await screen(page)).join("");
    return text.includes(`'${directory}/it'\\''s one.txt' ${directory}/two.bin`);
  });
  const bytes = await readFile(join(directory, "two.bin"));
  assert.equal(bytes.length, 1_500_000);
  assert.ok(bytes.every((byte, at) => byte === at % 251));
  assert.equal((await readFile(join(directory, "it's one.txt"))).length, 10);
});

test("a pasted picture gets a name with the time", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await cat(page);
  await give(page, "paste", [["image.png", 100]]);
  await shows(page, /pasted-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.png/);
  assert.ok((await readdir(directory)).some((name) => /^pasted-.*\.png$/.test(name)));
});

test("an upload shows its progress and can be called off, which leaves nothing", async () => {
  const { context, server } = stayd;
  const line = await Line.to(server.address);
  try {
    const page = await visit(context, `${line.origin}/#token=${server.token}`);
    // In the end the line is cut.
    page.expected.push(/ERR_|WebSocket connection/);
    await cat(page, line.origin);
    line.delay = 100;
    await give(page, "drop", [["large.bin", 8 << 20]]);
    await page.getByText("Uploading large.bin").waitFor();
    await eventually("some of it has come", async () => (await page.locator(".upload progress").evaluate((bar) => bar.value)) > 0);
    assert.ok((await readdir(directory)).some((name) => name.startsWith(".large.bin.")));
    await page.locator(".upload").getByRole("button", { name: "Cancel" }).click();
    await page.locator(".upload").waitFor({ state: "detached" });
    assert.deepEqual((await readdir(directory)).filter((name) => name.includes("large")), []);
    assert.ok(!(await screen(page)).join("").includes("large.bin"), "no path is typed");
  } finally {
    line.close();
  }
});

test("an upload goes on when the server is killed", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  page.expected.push(/ERR_|WebSocket connection|status of 5/);
  await cat(page);
  const { address } = server;
  await give(page, "drop", [["lasting.bin", 30 << 20]]);
  await eventually("some of it has come", async () => (await readdir(directory)).some((name) => name.startsWith(".lasting.bin.")));
  await server.kill();
  await server.up(address);
  await eventually("all of it has come", async () => (await readdir(directory)).includes("lasting.bin"));
  const bytes = await readFile(join(directory, "lasting.bin"));
  assert.equal(bytes.length, 30 << 20);
  assert.ok(bytes.every((byte, at) => byte === at % 251));
});

test("a directory whose name would run commands is not typed, and a paste stays a paste", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const trap = join(directory, "evil\x03\rtouch trapped #\r");
  await mkdir(trap);
  const { id } = await server.api("POST", "/sessions", { command: ["bash", "--norc"], cwd: trap, env: { PS1: "$ " } });
  await page.goto(`${server.origin}/#/s/${id}`);
  await opened(page, id);
  await give(page, "drop", [["hi", 1]]);
  await page.getByText("so their paths are not typed").waitFor();
  assert.ok((await readdir(trap)).includes("hi"));
  await page.locator(".frame").evaluate((frame) => {
    const data = new DataTransfer();
    data.setData("text/plain", "echo \x1b[201~\rtouch trapped\r");
    frame.querySelector("textarea").dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data }));
  });
  await shows(page, /touch trapped/);
  await page.keyboard.press("Control+C");
  await page.keyboard.type("echo done\r");
  await shows(page, "done");
  assert.ok(!(await readdir(trap)).includes("trapped"));
});

test("who only looks on drops nothing", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const { id } = await server.api("POST", "/sessions", { command: ["cat"], cwd: directory });
  await page.goto(`${server.origin}/#/s/${id}?ro`);
  await says(page, /View only/);
  await give(page, "drop", [["never.txt", 1]]);
  assert.equal(await page.locator(".frame.receives").count(), 0);
  assert.ok(!(await readdir(directory)).includes("never.txt"));
});
