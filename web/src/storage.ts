// What this browser remembers, where it lets pages remember.

/** What was kept under this name; null: nothing, or the browser keeps nothing. */
export function loadSetting(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keeps something for the next visit, if the browser does. */
export function saveSetting(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Then the next visit begins without it.
  }
}
