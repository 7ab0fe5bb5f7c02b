// Lets browsers install the page as an app, by a service worker that stores nothing.

const WORKER = "service-worker.js";
/** The only trusted type that the page's policy (CSP) allows, and the only value that it makes. */
const POLICY = "service-worker";

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(): string }): { createScriptURL(url: string): string };
}

/** Registers the service worker where the browser has them, which is in secure contexts only. */
export function registerServiceWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  const policy = trustedTypes?.createPolicy(POLICY, { createScriptURL: () => WORKER });
  navigator.serviceWorker.register(policy?.createScriptURL(WORKER) ?? WORKER).catch(() => {
    // The page works without it.
  });
}
