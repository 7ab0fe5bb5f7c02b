// Who may do what on the page: signing in, share links, roles, tokens, and the end of each.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, newShell, opened, openId, row, says, screen, shows, stage, type, visit } from "./support.js";

const stayd = stage({ permissions: ["clipboard-read", "clipboard-write"] });

/** The page must say that a login has ended within this time. */
const END_MS = 2000;

/** Another person's browser. */
const stranger = () => stayd.browser.newContext({ viewport: { width: 1100, height: 700 } });
const signInForm = (page) => page.getByRole("dialog", { name: "Sign in to stayd" });
const account = (page) => page.locator("#account");
const names = async (locator) => (await locator.allInnerTexts()).map((text) => text.trim()).filter(Boolean);

/** Waits until the page says this, and asserts that it is in time. */
async function saysInTime(page, text, from) {
  await signInForm(page).getByText(text).waitFor();
  const took = Date.now() - from;
  assert.ok(took < END_MS, `${took} ms`);
}

/** Opens a page in which a login ends: the server breaks off its stream of events. */
async function visitUntilEnd(context, url) {
  const page = await visit(context, url);
  page.expected.push(/ERR_INCOMPLETE_CHUNKED_ENCODING.*events/);
  return page;
}

/** A token, made over HTTP. */
const token = async (wanted) => (await stayd.server.api("POST", "/tokens", wanted)).token;

test("a code signs in once, and afterwards the page says what to do", async () => {
  const { server, context } = stayd;
  const { url } = await server.api("POST", "/login/code");
  const page = await visit(context, url);
  await newShell(page);
  assert.ok(!page.url().includes("code"), "the code is out of the address");
  assert.equal(await account(page).innerText(), "owner · admin");
  // The same address once more, in a browser that is signed in, is no trouble.
  const again = await visit(context, url);
  await says(again, /Attached/);

  const other = await stranger();
  const late = await visit(other, url);
  const form = signInForm(late);
  await form.getByText(/used already.*stayd url/).waitFor();
  assert.ok(!late.url().includes("code"));
  await late.getByLabel("Token or address").fill((await server.api("POST", "/login/code")).url);
  await late.keyboard.press("Enter");
  await form.waitFor({ state: "hidden" });
  await account(late).getByText("owner · admin").waitFor();
  await other.close();
});

test("a token signs in, in the address and in the form; signing out ends it in every tab", async () => {
  const { server, context } = stayd;
  const secret = await token({ name: "anna", role: "controller" });
  const page = await visitUntilEnd(context, `${server.origin}/#token=${secret}`);
  await account(page).getByText("anna · controller").waitFor();
  await newShell(page);
  assert.ok(!page.url().includes(secret), "the token is out of the address");
  assert.ok(!(await page.locator("#tokens-link").isVisible()), "tokens are for admins");

  const second = await visitUntilEnd(context, page.url());
  await says(second, /Attached/);
  await account(page).click();
  await page.getByText("You may use all sessions: type, start, change and end them.").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  const from = Date.now();
  await saysInTime(second, "You are signed out.", from);
  await signInForm(page).waitFor();
  await page.getByLabel("Token or address").fill(secret);
  await page.keyboard.press("Enter");
  await signInForm(page).waitFor({ state: "hidden" });
  await account(page).getByText("anna · controller").waitFor();
  // The other tab goes on once somebody looks at it. What is typed while its old connection ends is kept.
  await second.evaluate(() => dispatchEvent(new Event("focus")));
  await signInForm(second).waitFor({ state: "hidden" });
  await type(second, "echo back-$((1))");
  await shows(second, "back-1");
});

test("a share link opens its session and nothing else, and says when it has ended", async () => {
  const { server, context } = stayd;
  const page = await visit(context, server.url);
  await newShell(page);
  await newShell(page);
  await type(page, "echo shared-$((6*7))");
  await shows(page, "shared-42");

  await page.getByRole("button", { name: "Share…" }).click();
  const dialog = page.getByRole("dialog", { name: /^Share / });
  await dialog.getByText("can type nothing").waitFor();
  await dialog.getByRole("button", { name: "Create link" }).click();
  const url = await eventually("the link is shown", () => dialog.getByLabel("The link", { exact: true }).inputValue().then((shown) => shown !== "" && shown));
  await dialog.getByRole("button", { name: "Copy" }).click();
  await dialog.getByText("Copied.").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), url);
  await dialog.getByRole("listitem").getByText(/Look only · ends .* by owner/).waitFor();

  // Whoever may do more is asked before the link takes the place of that.
  const own = await visit(context, url);
  await own.getByRole("dialog", { name: "Open the shared link?" }).getByText("owner · admin").waitFor();
  await own.getByRole("button", { name: "Keep it" }).click();
  await account(own).getByText("owner · admin").waitFor();
  await own.close();

  const before = (await server.api("GET", "/sessions")).sessions.length;
  const other = await stranger();
  const seen = await visitUntilEnd(other, url);
  await shows(seen, "shared-42");
  assert.ok(!seen.url().includes("share="), "the secret is out of the address");
  await says(seen, /View only/);
  await account(seen).getByText(/Shared with you, look only · until \S/).waitFor();
  assert.ok(!(await seen.locator("#side").isVisible()), "there is no list");
  const buttons = await names(seen.locator("button:visible:not(.skip)"));
  assert.deepEqual(buttons, [await account(seen).innerText(), "Zoom to fit"], "besides the search, which has no text");
  assert.ok((await seen.locator("#terminal").boundingBox()).width > 1000, "the terminal has the whole window");
  await seen.keyboard.press("Alt+Shift+N");
  await seen.keyboard.press("Alt+Shift+K");
  await seen.getByRole("option").first().waitFor();
  assert.deepEqual(await names(seen.locator(".palette-name")), ["Find in the terminal", "Settings", "Let screen readers read the terminal", "Who am I?", "Sign out"]);
  await seen.keyboard.press("Escape");
  await seen.locator(".xterm-helper-textarea").focus();
  await seen.keyboard.type("echo intruder\n");
  // The address of another session changes nothing.
  await seen.goto(`${server.origin}/#/s/0190d3c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f`);
  await shows(seen, "shared-42");

  await dialog.getByRole("button", { name: /^End the link/ }).click();
  const from = Date.now();
  await saysInTime(seen, "The link has ended.", from);
  await page.locator("#share-links").waitFor({ state: "hidden" });
  // The browser itself asks for the events once more.
  await new Promise((resolve) => setTimeout(resolve, 4500));
  const requests = [];
  seen.on("request", (request) => requests.push(request.url()));
  seen.on("websocket", (socket) => requests.push(socket.url()));
  await new Promise((resolve) => setTimeout(resolve, 5000));
  assert.deepEqual(requests, [], "nothing is tried again before somebody signs in");
  const late = await visit(other, url);
  await signInForm(late).getByText(/^This link has ended\./).waitFor();
  assert.equal((await server.api("GET", "/sessions")).sessions.length, before, "nothing was started");
  assert.ok(!(await screen(page)).some((line) => line.includes("intruder")), "nothing was typed");
  await other.close();
});

test("a link that may type is typed through, and ends with its time", async () => {
  const { server } = stayd;
  const { id } = await server.api("POST", "/sessions", { name: "typed", command: ["sh"] });
  const { url } = await server.api("POST", `/sessions/${id}/shares`, { mode: "rw", expires_s: 6 });
  const from = Date.now();
  const other = await stranger();
  const page = await visitUntilEnd(other, url);
  await says(page, /Attached/);
  await account(page).getByText(/you may type/).waitFor();
  await type(page, "echo through-$((1))");
  await shows(page, "through-1");
  for (const button of ["#end", "#edit", "#share", "#pin", "#status-fit"]) assert.ok(!(await page.locator(button).isVisible()), button);
  await saysInTime(page, "The link has ended.", from + 6000);
  await other.close();
});

test("a viewer looks on: no button, no key and no command changes anything", async () => {
  const { server } = stayd;
  const one = await server.api("POST", "/sessions", { name: "looked at", command: ["sh"] });
  const gone = await server.api("POST", "/sessions", { name: "over", command: ["true"] });
  const other = await stranger();
  const page = await visit(other, `${server.origin}/#token=${await token({ name: "looker", role: "viewer" })}`);
  await account(page).getByText("looker · viewer").waitFor();
  await page.locator("#start").getByText("The sessions that you may see are in the list.").waitFor();
  const before = (await server.api("GET", "/sessions")).sessions.length;
  await row(page, one.id).locator("a").click();
  await says(page, /View only/);
  await row(page, one.id).hover();
  for (const button of ["#new", "#new-more", "#share", "#edit", "#end", "#pin", "#status-type", "#tokens-link"]) {
    assert.ok(!(await page.locator(button).isVisible()), button);
  }
  assert.equal(await row(page, one.id).locator("button:visible").count(), 0);
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("echo typed\n");
  for (const key of ["N", "P", "Enter"]) await page.keyboard.press(`Alt+Shift+${key}`);
  assert.ok(!(await page.locator("dialog[open]").isVisible()));
  await page.getByText("Ended", { exact: true }).click();
  await page.locator(`#ended-list a[href="#/s/${gone.id}"]`).click();
  await page.locator("#panel").getByText(/exited/).waitFor();
  assert.equal(await page.locator("#panel button").count(), 0);
  assert.equal((await server.api("GET", "/sessions")).sessions.length, before);
  assert.ok(!(await server.api("GET", `/sessions/${one.id}/screen?format=json`).then(JSON.stringify)).includes("typed"));

  await other.close();
});

test("tokens are made, shown once and removed; who used one is signed out", async () => {
  const { server, context } = stayd;
  const page = await visit(context, server.url);
  page.expected.push(/status of 400/);
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.getByRole("heading", { name: "Tokens" }).waitFor();
  await page.getByRole("button", { name: "New token…" }).click();
  const dialog = page.getByRole("dialog", { name: "New token" });
  await page.keyboard.press("Enter");
  await dialog.getByText("needs a name").waitFor();
  await dialog.getByLabel("Name", { exact: true }).fill("web team");
  await page.keyboard.press("Enter");
  await dialog.getByText(/letters, digits/).waitFor();
  await dialog.getByLabel("Name", { exact: true }).fill("web-team");
  await dialog.getByLabel("Role").selectOption("controller");
  await dialog.getByLabel("Sessions").selectOption("labels");
  await dialog.getByLabel("Labels").fill("team=web");
  await dialog.getByLabel("It ends").selectOption("28800");
  await dialog.getByRole("button", { name: "Create" }).click();
  const field = page.getByLabel("The token web-team");
  await field.waitFor();
  const secret = await field.inputValue();
  await page.getByRole("button", { name: "Copy" }).click();
  await eventually("it is copied", async () => (await page.evaluate(() => navigator.clipboard.readText())) === secret);
  const item = page.locator("#token-list > li", { hasText: "web-team" });
  await item.getByText(/sessions with team=web · made by owner on .* · ends /).waitFor();
  await page.reload();
  await item.waitFor();
  assert.ok(!(await page.content()).includes(secret), "it is shown once");

  // What a token starts gets the labels of its scope, or it would be out of its sight.
  const other = await stranger();
  const used = await visitUntilEnd(other, `${server.origin}/#token=${secret}`);
  const id = await newShell(used);
  assert.deepEqual((await server.session(id)).labels, { team: "web" });
  assert.equal(await used.locator("#sessions > li").count(), 1, "others do not exist");
  used.expected.push(/status of 403/);
  await used.locator("#new-more").click();
  await used.getByRole("menuitem", { name: "Other…" }).click();
  assert.equal(await used.locator("#create-labels").inputValue(), "team=web");
  await used.locator("#create-command").fill("sh");
  await used.locator("#create-labels").fill("");
  await used.keyboard.press("Enter");
  await used.locator("#create-error").getByText("Your sign-in does not allow this.").waitFor();
  await used.keyboard.press("Escape");
  await item.getByRole("button", { name: "Remove web-team" }).click();
  await page.getByRole("dialog", { name: "Remove the token web-team?" }).getByRole("button", { name: "Remove" }).click();
  await item.waitFor({ state: "detached" });
  const from = Date.now();
  await saysInTime(used, "You are signed out.", from);

  // Whoever signs in next has a page of their own.
  await used.getByLabel("Token or address").fill(server.url);
  await used.keyboard.press("Enter");
  await account(used).getByText("owner · admin").waitFor();
  await opened(used, id);
  await other.close();
});

test("a page without an open session says within 2 s that its token has ended", async () => {
  const { server } = stayd;
  const other = await stranger();
  const page = await visitUntilEnd(other, `${server.origin}/#token=${await token({ name: "short", role: "viewer" })}`);
  await account(page).getByText("short · viewer").waitFor();
  assert.equal(openId(page), "");
  await eventually("the events arrive", () => page.evaluate(() => performance.getEntriesByType("resource").length > 0));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const from = Date.now();
  await server.api("DELETE", "/tokens/short");
  await saysInTime(page, "You are signed out.", from);
  await other.close();
});
