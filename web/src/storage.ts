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

/** The value that this tab stored before it was reloaded; null if there is none. */
export function loadTabSetting(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Stores a value for this tab, until it is closed. */
export function saveTabSetting(name: string, value: string): void {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Storage is forbidden: a reload starts without the value.
  }
}
