// Text of programs and of other people never reverses, hides or replaces what the page says, wherever
// the page shows it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, row, says, shows, stage, type, visit } from "./support.js";

const stayd = stage({ permissions: ["notifications", "clipboard-read", "clipboard-write"] });

/** Reverses what follows, and has no width. */
const EVIL = "\u202e\u200b";
const SHOWN = "<U+202E><U+200B>";
/** The server refuses names like that today, so the page reads EVIL where the server has written this. */
const MARK = "zzMARKzz";

/** Every text of the page, seen or heard, that has a character of EVIL in it. */
function hidden(page) {
  return page.evaluate(() => {
    const found = [];
    const look = (where, text) => /[\u202a-\u202e\u2066-\u2069\u200b-\u200f]/.test(text ?? "") && found.push(`${where}: ${escape(text)}`);
    look("the tab", document.title);
    for (const element of document.body.querySelectorAll("*")) {
      if (element.closest("#terminal")) continue;
      for (const { name, value } of element.attributes) if (!name.startsWith("data-")) look(`${element.id || element.className || element.tagName} ${name}`, value);
      for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) look(element.id || element.className || element.tagName, node.data);
    }
    return found;
  });
}

test("names, commands, directories, labels, titles and notifications are shown with what is hidden in them", async () => {
  const { context, server } = stayd;
  await context.addInitScript(([mark, evil]) => {
    const { parse } = JSON;
    JSON.parse = (text) => parse(text.replaceAll(mark, evil));
    Response.prototype.json = async function () {
      return JSON.parse(await this.text());
    };
    window.told = [];
    window.Notification = class {
      static permission = "granted";
      static requestPermission = async () => "granted";
      constructor(title, { body }) {
        window.told.push(title, body);
      }
      close() {}
    };
  }, [MARK, EVIL]);
  const page = await visit(context, server.url);
  const clean = async (what) => assert.deepEqual(await hidden(page), [], what);
  const evil = (name) => server.api("POST", "/sessions", { name: `${name}${MARK}`, command: ["sh", "-c", "exec sh", `arg${MARK}`], labels: { team: `web${MARK}` } });
  const [one, two] = [await evil("one"), await evil("two")];
  await page.locator("#notify").click();
  await row(page, one.id).locator("a").click();
  await says(page, /Attached/);
  await page.locator("#title").getByText(`one${SHOWN}`).waitFor();
  await row(page, one.id).getByText(`team=web${SHOWN}`).waitFor();
  assert.match(await row(page, one.id).locator("a").getAttribute("title"), /<U\+202E><U\+200B>/);
  await clean("the list and the header");

  await type(page, `printf '\\033]2;title${EVIL}\\a\\033]52;c;${Buffer.from(`copy${EVIL}`).toString("base64")}\\a'; echo titled-$((1))`);
  await shows(page, "titled-1");
  await page.locator("#subtitle").getByText(`title${SHOWN}`).waitFor();
  await eventually("the tab has the title", async () => (await page.title()).includes(`title${SHOWN}`));
  await page.locator("#copy-question-text").getByText(`copy${SHOWN}`).waitFor();
  await clean("the window's title and the question about the clipboard");
  await page.locator("#copy-question-no").click();

  await server.api("POST", `/sessions/${two.id}/input`, `printf '\\033]777;notify;note${MARK};body${MARK}\\a'\r`);
  await row(page, two.id).getByText(`note${SHOWN}: body${SHOWN}`).waitFor();
  await clean("a notification in the list");
  const told = await eventually("the browser notifies", () => page.evaluate(() => window.told.length > 0 && window.told));
  assert.deepEqual(told, [`two${SHOWN}`, `note${SHOWN}: body${SHOWN}`]);

  await page.keyboard.press("Alt+Shift+K");
  await page.getByRole("option", { name: `two${SHOWN}` }).waitFor();
  await clean("the palette");
  await page.keyboard.press("Escape");
  await page.locator("#share").click();
  await page.getByRole("dialog", { name: `Share one${SHOWN}` }).waitFor();
  await clean("the dialog that shares");
  await page.keyboard.press("Escape");
  await page.locator("#end").click();
  await page.getByRole("dialog", { name: `End one${SHOWN}?` }).waitFor();
  await clean("the confirmation");
  await page.locator("#confirm-yes").click();
  await page.locator("#panel").getByText("ended on request").waitFor();
  await page.locator("#ended > summary").click();
  await page.locator("#ended-list").getByText(`one${SHOWN}`).waitFor();
  await clean("an ended session");

  await server.api("POST", "/tokens", { name: "evil", role: "viewer", labels: { team: `web${MARK}` } });
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.locator("#token-list").getByText(`team=web${SHOWN}`).waitFor();
  await clean("the tokens");
  page.expected.push(/status of 404/);
  await page.goto(`${server.origin}/#/s/${encodeURIComponent(`nobody${EVIL}`)}`);
  await page.locator("#confirm").getByText(`nobody${SHOWN}`).waitFor();
  await clean("the message about an unknown name");
});
