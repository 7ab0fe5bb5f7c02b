// The settings of the page, which each browser keeps for itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage({ permissions: ["clipboard-read", "clipboard-write"] });

const open = async (page) => {
  await page.getByRole("button", { name: "Settings" }).click();
  const dialog = page.getByRole("dialog", { name: "Settings" });
  await dialog.waitFor();
  return dialog;
};
const background = (page) => page.locator(".pane-terminal").evaluate((element) => getComputedStyle(element).backgroundColor);

test("a theme, a font and a size are in force at once and after a reload, until they are reset", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const { rows } = await server.session(id);
  const before = await background(page);
  const dialog = await open(page);
  await dialog.getByLabel("Theme", { exact: true }).selectOption({ label: "Solarized Light" });
  await eventually("the terminal has its background", async () => (await background(page)) === "rgb(253, 246, 227)");
  await dialog.getByLabel("Font", { exact: true }).fill("No Such Font, DejaVu Sans Mono");
  await dialog.getByLabel("Size", { exact: true }).fill("20");
  await eventually("the session has fewer lines", async () => (await server.session(id)).rows < rows - 5);
  await dialog.getByLabel("Cursor", { exact: true }).selectOption("underline");
  await dialog.getByRole("button", { name: "Done" }).click();
  await type(page, "echo typed-$((1))");
  await shows(page, "typed-1");
  await page.locator(".xterm-cursor-underline").waitFor({ state: "attached" });

  const other = await visit(context, `${server.origin}/#/s/${id}`);
  await opened(other, id);
  assert.equal(await background(other), "rgb(253, 246, 227)", "another tab has it, too");
  await page.reload();
  await opened(page, id);
  assert.equal(await background(page), "rgb(253, 246, 227)");
  const font = await page.locator(".xterm-rows").evaluate((element) => getComputedStyle(element).fontFamily);
  assert.match(font, /^"No Such Font", "DejaVu Sans Mono", /);
  assert.equal(await (await open(page)).getByLabel("Size", { exact: true }).inputValue(), "20");
  await page.getByRole("button", { name: "Reset all" }).click();
  await eventually("the background is as before", async () => (await background(page)) === before);
  await eventually("in the other tab, too", async () => (await background(other)) === before);
  assert.equal(await page.getByLabel("Size", { exact: true }).inputValue(), "");
});

test("a theme of VS Code is imported, and a file that is none is refused", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const dialog = await open(page);
  const choose = (name, text) => page.locator("#settings-file").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
  await choose("notes.json", "hello");
  await dialog.getByText(/neither a VS Code theme/).waitFor();
  await choose("Night Sky-color-theme.json", '{ /* mine */ "colors": { "terminal.background": "#102030", "terminal.ansiRed": "#fe0102", } }');
  await eventually("it is in force", async () => (await background(page)) === "rgb(16, 32, 48)");
  assert.equal(await page.locator("#settings-error").innerText(), "");
  assert.equal(await dialog.getByLabel("Theme", { exact: true }).locator("option:checked").innerText(), "Night Sky (imported)");
  await page.reload();
  await opened(page, id);
  await type(page, "clear; printf '\\033[31mred-%s\\033[m\\n' $((1))");
  await shows(page, "red-1");
  const red = page.locator(".xterm-rows span", { hasText: "red-1" });
  assert.equal(await red.evaluate((element) => getComputedStyle(element).color), "rgb(254, 1, 2)");
});

test("text is readable in every theme, unless its colours are wanted as they are", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await type(page, "clear; printf '\\033[38;2;30;30;36mdark-%s\\033[m \\033[38;2;240;240;240mlight-%s\\033[m\\n' $((1)) $((2))");
  await shows(page, "dark-1 light-2");
  const contrast = async (text) => {
    const colour = await page.locator(".xterm-rows span", { hasText: text }).evaluate((element) => getComputedStyle(element).color);
    const luminance = (rgb) => {
      const [r, g, b] = rgb.match(/\d+/g).map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [dark, light] = [luminance(colour), luminance(await background(page))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const dialog = await open(page);
  for (const [theme, text, least] of [["stayd dark", "dark-1", 2.9], ["Solarized Dark", "dark-1", 2.9], ["stayd light", "light-2", 4.4]]) {
    await dialog.getByLabel("Theme", { exact: true }).selectOption({ label: theme });
    await eventually(`${text} is readable in ${theme}`, async () => (await contrast(text)) >= least);
  }
  await dialog.getByLabel("Contrast of text").selectOption("at least 7 to 1");
  await eventually("it is more", async () => (await contrast("light-2")) >= 6.9);
  await dialog.getByLabel("Contrast of text").selectOption("the colours as they are");
  await eventually("it is the program's", async () => (await contrast("light-2")) < 1.3);
});

test("the page keeps no more scrollback than comes back after a reload", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const top = async () => {
    const { x, y, width } = await page.locator(".xterm .scrollbar.vertical .slider").boundingBox();
    await page.mouse.move(x + width / 2, y + 2);
    await page.mouse.down();
    await page.mouse.move(x + width / 2, 0, { steps: 4 });
    await page.mouse.up();
    return Number((await screen(page))[0]);
  };
  await type(page, "clear; seq 3000; echo done-$((1))");
  await shows(page, "done-1");
  // The screen's own lines come on top of the scrollback.
  const { rows } = await server.session(id);
  const oldest = 3000 + 3 - rows - 1000;
  await eventually(`line ${oldest} or so is the oldest`, async () => Math.abs((await top()) - oldest) <= 2 || Promise.reject(new Error(`it is ${await top()}`)));
  const before = await top();
  await page.reload();
  await opened(page, id);
  await shows(page, "done-1");
  await eventually("the same line is the oldest after a reload", async () => (await top()) === before || Promise.reject(new Error(`it is ${await top()}`)));

  const dialog = await open(page);
  await dialog.getByText("The server keeps 1000 lines of each session").waitFor();
  await dialog.getByLabel("Lines of scrollback").fill("100");
  await dialog.getByLabel("Lines of scrollback").press("Tab");
  await dialog.getByRole("button", { name: "Done" }).click();
  await eventually("100 lines are left", async () => (await top()) === before + 900 || Promise.reject(new Error(`${await top()}`)));
});

test("what is selected is copied, if the user wants that", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.evaluate(() => navigator.clipboard.writeText("before"));
  await type(page, "clear; echo first-$((1)); echo second-$((2))");
  await shows(page, "second-2");
  const choose = async (text) => {
    const { x, y, height } = await page.locator(".xterm-rows > div", { hasText: text }).boundingBox();
    await page.mouse.dblclick(x + 8, y + height / 2);
  };
  await choose(/^first-1$/);
  assert.equal(await clipboard(), "before", "not by default");
  const dialog = await open(page);
  await dialog.getByLabel("Copy what is selected").check();
  await dialog.getByRole("button", { name: "Done" }).click();
  await choose(/^second-2$/);
  await eventually("it is copied", async () => /^second/.test(await clipboard()));
});

test("the bell flashes if the user wants that, and not again after a reload", async () => {
  const { context, server } = stayd;
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const watch = () =>
    page.evaluate(() => {
      window.flashes = 0;
      document.addEventListener("animationstart", (event) => event.animationName === "ring" && window.flashes++);
    });
  const flashes = () => page.evaluate(() => window.flashes);
  await watch();
  await type(page, "printf '\\a'; echo rang-$((1))");
  await shows(page, "rang-1");
  assert.equal(await flashes(), 0, "it is silent by default");
  const dialog = await open(page);
  await dialog.getByLabel("Bell").selectOption({ label: "a flash" });
  await dialog.getByRole("button", { name: "Done" }).click();
  await type(page, "printf '\\a'; echo rang-$((2))");
  await eventually("it flashes", async () => (await flashes()) === 1);
  await page.reload();
  await watch();
  await opened(page, id);
  await shows(page, "rang-2");
  assert.equal(await flashes(), 0);
});
