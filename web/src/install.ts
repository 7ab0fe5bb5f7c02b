// Lets browsers install the page as an app, by a service worker that stores nothing. It also shows
// notifications while no page is open.

const WORKER = "service-worker.js";
/** The only trusted type that the page's policy (CSP) allows, and the only value that it makes. */
const POLICY = "service-worker";

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(): string }): { createScriptURL(url: string): string };
}

/** What the service worker asks of the page. */
export interface NotificationCallbacks {
  /** Whether this session is on the page. */
  shows(session: string): boolean;
  /** A notification about this session was clicked. */
  open(session: string): void;
}

/** Registers the service worker where the browser has them, which is in secure contexts only. */
export function registerServiceWorker(callbacks: NotificationCallbacks): void {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("message", ({ data, ports }: MessageEvent<{ open?: string; shows?: string } | null>) => {
    if (typeof data?.open === "string") callbacks.open(data.open);
    if (typeof data?.shows === "string") ports[0]?.postMessage(callbacks.shows(data.shows));
  });
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  const policy = trustedTypes?.createPolicy(POLICY, { createScriptURL: () => WORKER });
  navigator.serviceWorker.register(policy?.createScriptURL(WORKER) ?? WORKER).catch(() => {
    // The page works without it.
  });
}
