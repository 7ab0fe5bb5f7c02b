// Who this tab is to the server: the same over reconnects and reloads, another in every tab.

const KEY = "stayd-client";

function fresh(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const id = `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  try {
    sessionStorage.setItem(KEY, id);
  } catch {
    // Storage may be forbidden; then a reload makes a new client, which costs nothing.
  }
  return id;
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Holds the name for as long as the page lives; false if another tab has it. */
function claim(id: string): Promise<boolean> {
  // Only secure contexts have locks; elsewhere the server's 4409 settles it.
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    void navigator.locks.request(`${KEY}-${id}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });
}

/** This tab's name. A duplicated tab inherits its origin's storage, but not its lock. */
export async function clientId(): Promise<string> {
  const id = stored() ?? fresh();
  if (await claim(id)) return id;
  return newClientId();
}

/** Another name, when the old one is used elsewhere. */
export async function newClientId(): Promise<string> {
  const id = fresh();
  await claim(id);
  return id;
}
