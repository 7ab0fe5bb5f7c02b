// This tab's client id for the server: it survives reconnects and reloads, and no two tabs share it.

import { loadTabSetting, saveTabSetting } from "./storage";

const KEY = "stayd-client";

function fresh(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const id = `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  // A browser that forbids storage makes a new client of a reload, which costs nothing.
  saveTabSetting(KEY, id);
  return id;
}

/** Locks the id for as long as the page lives; false if another tab holds it. */
function claim(id: string): Promise<boolean> {
  // Only secure contexts have locks. Elsewhere the server closes the older connection with 4409.
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    void navigator.locks.request(`${KEY}-${id}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });
}

/** This tab's client id. A duplicated tab copies the storage but not the lock, so it gets its own id. */
export async function clientId(): Promise<string> {
  const id = loadTabSetting(KEY) ?? fresh();
  if (await claim(id)) return id;
  return newClientId();
}

/** A new client id, after another tab has taken over the old one. */
export async function newClientId(): Promise<string> {
  const id = fresh();
  await claim(id);
  return id;
}
