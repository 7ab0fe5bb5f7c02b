// Lets the page be installed as an app. It stores nothing, so that it never serves a stale page: every
// visit goes to the server. Where that does not answer, it says so instead of the browser, which in an
// installed app has no button to try again, and the visit is made again by itself.

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
