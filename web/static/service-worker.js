// Lets the page be installed as an app. It stores nothing, so that it never serves a stale page: every
// visit goes to the server. Where that does not answer, it says so instead of the browser, which in an
// installed app has no button to try again, and the visit is made again by itself.
//
// It shows what the server tells by web push, and opens the session of a notification that is clicked.

const RETRY_S = 3;

// The time is a script's and no `refresh`: with a fragment in the address that would load nothing.
const AWAY = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<script>setTimeout(() => location.reload(), ${RETRY_S} * 1000)</script>
<title>stayd</title>
<style>
  body { display: grid; place-content: center; gap: 0.6rem; height: 100vh; margin: 0; padding: 1.5rem; box-sizing: border-box; font: 1rem/1.5 system-ui, sans-serif; text-align: center; }
  h1, p { margin: 0; }
  h1 { font-size: 1.3rem; }
</style>
<h1>The server does not answer</h1>
<p>The sessions may well be running. This page tries again every ${RETRY_S} seconds.</p>
</html>
`;

function away() {
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-store",
  };
  return new Response(AWAY, { status: 503, headers });
}

// A new version takes the place of the old one at once.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  // Downloads and the API are none of its business.
  const isPage = event.request.mode === "navigate" && event.request.url.split(/[?#]/)[0] === self.registration.scope;
  if (isPage) event.respondWith(fetch(event.request).catch(away));
});

/** The windows that show the page. */
async function pages() {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  return windows.filter(({ url }) => url.split(/[?#]/)[0] === self.registration.scope);
}

/** How long a page may think. */
const ANSWER_WITHIN_MS = 500;

/** Whether a page shows a session: it is asked, since a window's `url` is the one that it was opened with. */
function shows(page, session) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data === true);
    setTimeout(() => resolve(false), ANSWER_WITHIN_MS);
    page.postMessage({ shows: session }, [port2]);
  });
}

async function tell({ title, body, tag, session, event, url }) {
  // Whoever looks at the session sees it.
  const seen = (await pages()).filter(({ focused, visibilityState }) => focused && visibilityState === "visible");
  if ((await Promise.all(seen.map((page) => shows(page, session)))).includes(true)) return;
  // Another question is heard as well, although it takes the place of the one before.
  await self.registration.showNotification(title, { body, tag, icon: "icon-192.png", renotify: event === "blocked", data: { session, url } });
}

async function open({ session, url }) {
  const all = await pages();
  const page = all[(await Promise.all(all.map((one) => shows(one, session)))).indexOf(true)] ?? all[0];
  if (page === undefined) return self.clients.openWindow(new URL(url, self.registration.scope));
  page.postMessage({ open: session });
  return page.focus();
}

self.addEventListener("push", (event) => event.waitUntil(tell(event.data.json())));
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});
