// Web push: the page subscribes, and the service worker shows what the server tells, and opens it.
//
// A real push service is somebody else's, and cannot be reached from here. For the page, a class stands in
// for the browser's PushManager, which alone speaks with that service; everything else is real: the page,
// the server, its key and what it keeps. For the service worker, Chromium itself delivers the message, as
// it would if it came from the service. What is sent to a service, and how it is encrypted, is tested in
// tests/integration/push.rs.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { eventually, newShell, opened, stage, visit } from "./support.js";

/** What has come to the push service. */
const sent = [];
const service = createServer((request, answer) => {
  request.resume();
  request.on("end", () => {
    sent.push(request);
    answer.writeHead(201).end();
  });
});
const stayd = stage({}, async () => {
  await new Promise((resolve) => service.listen(0, "127.0.0.1", resolve));
  return `push_services = ["http://127.0.0.1:${service.address().port}"]\n`;
});
after(() => service.close());

/** Puts a class in the place of the browser's PushManager. */
async function standIn(context) {
  await context.grantPermissions(["notifications"]);
  await context.addInitScript((origin) => {
    // A browser without windows denies notifications whatever was granted.
    Object.defineProperty(Notification, "permission", { get: () => "granted" });
    Notification.requestPermission = async () => "granted";
    const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const decode = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    let subscription = null;
    PushManager.prototype.getSubscription = async () => subscription;
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly) throw new Error("every message must be shown");
      const { publicKey } = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
      const keys = { p256dh: encode(new Uint8Array(await crypto.subtle.exportKey("raw", publicKey))), auth: encode(crypto.getRandomValues(new Uint8Array(16))) };
      window.subscribedWith = applicationServerKey;
      subscription = {
        options: { applicationServerKey: decode(applicationServerKey).buffer },
        toJSON: () => ({ endpoint: `${origin}/${crypto.randomUUID()}`, keys }),
        unsubscribe: async () => (subscription = null) === null,
      };
      return subscription;
    };
  }, `http://127.0.0.1:${service.address().port}`);
}

const report = (server, id, state, message) => server.api("POST", `/sessions/${id}/attention`, { state, message });

test("the bell button has the server tell this browser, until it is turned off", async () => {
  const { context, server } = stayd;
  await standIn(context);
  const page = await visit(context, server.url);
  const id = await newShell(page);
  await page.getByRole("button", { name: /^Notify me/ }).click();
  const { public_key } = await server.api("GET", "/push");
  await eventually("it is subscribed", () => page.evaluate(() => localStorage.getItem("stayd-push")));
  assert.equal(await page.evaluate(() => window.subscribedWith), public_key);
  const { id: other } = await server.api("POST", "/sessions", { name: "other", command: ["sleep", "1000"] });
  await report(server, other, "blocked", "May I?");
  await eventually("the service has it", () => sent.length === 1);
  assert.equal(sent[0].headers["content-encoding"], "aes128gcm");
  // What somebody looks at is not sent; what comes after it is.
  await report(server, id, "blocked", "seen");
  await report(server, other, "done", "all");
  await eventually("the service has that", () => sent.length === 2);

  // A visit renews it; there is one of each browser.
  const before = await page.evaluate(() => localStorage.getItem("stayd-push"));
  await page.reload();
  const renewed = () => page.evaluate(() => localStorage.getItem("stayd-push"));
  await eventually("it is renewed", async () => (await renewed()) !== before && (await renewed()) !== "");

  await page.getByRole("button", { name: /^Notifications are on/ }).click();
  const last = await renewed();
  await eventually("it is turned off", async () => (await renewed()) === "");
  assert.equal(typeof last, "string");
});

/** The service worker, and Chromium's own way to deliver to it. */
async function worker(context, page, server) {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await eventually("it serves the page", () => page.evaluate(() => navigator.serviceWorker.controller !== null));
  const cdp = await context.newCDPSession(page);
  const registrations = [];
  cdp.on("ServiceWorker.workerRegistrationUpdated", (update) => registrations.push(...update.registrations));
  await cdp.send("ServiceWorker.enable");
  const { registrationId } = await eventually("its registration", () => registrations.at(-1));
  const deliver = (message) => cdp.send("ServiceWorker.deliverPushMessage", { origin: server.origin, registrationId, data: JSON.stringify(message) });
  const [self] = context.serviceWorkers();
  const shown = () => self.evaluate(async () => (await self.registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag })));
  return { deliver, shown, self };
}

const message = (id, body) => ({ event: "blocked", session: id, at: "", title: "agent", body, tag: `stayd-${id}`, url: `#/s/${id}` });

test("the service worker shows a message unless its session is looked at, and opens the session of a click", async () => {
  const { context, server } = stayd;
  await context.grantPermissions(["notifications"], { origin: server.origin });
  const page = await visit(context, server.url);
  const id = await newShell(page);
  const { id: other } = await server.api("POST", "/sessions", { name: "agent", command: ["sleep", "1000"] });
  const { deliver, shown, self } = await worker(context, page, server);

  await deliver(message(id, "It asks: seen"));
  await deliver(message(other, "It asks: one"));
  await eventually("a notification", async () => (await shown()).some(({ body }) => body === "It asks: one"));
  // Another message about the session takes the place of the first.
  await deliver(message(other, "It asks: two"));
  await eventually("the newer one", async () => (await shown()).some(({ body }) => body === "It asks: two"));
  assert.deepEqual(await shown(), [{ title: "agent", body: "It asks: two", tag: `stayd-${other}` }]);

  // Nobody can click on a notification here, so the event is made where the browser would make it.
  await self.evaluate(async () => {
    const [notification] = await self.registration.getNotifications();
    self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
  });
  await opened(page, other);
  await eventually("it is closed", async () => (await shown()).length === 0);
});
