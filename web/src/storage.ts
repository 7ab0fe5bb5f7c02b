// Settings that this browser stores, where it allows pages to store anything.

/** The stored value; null if there is none or the browser forbids storage. */
export function loadSetting(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Stores a value for the next visit, if the browser allows it. */
export function saveSetting(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is forbidden: the next visit starts without the value.
  }
}
