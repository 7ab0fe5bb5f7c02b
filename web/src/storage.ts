// Settings that this browser or this tab stores, where the browser allows pages to store anything.

/** The stored value; null if there is none or the browser forbids storage. */
export const loadSetting = (name: string): string | null => load(() => localStorage, name);

/** Stores a value for the next visit, if the browser allows it. */
export const saveSetting = (name: string, value: string): void => save(() => localStorage, name, value);

/** The value that this tab stored before it was reloaded; null if there is none. */
export const loadTabSetting = (name: string): string | null => load(() => sessionStorage, name);

/** Stores a value for this tab, until it is closed. */
export const saveTabSetting = (name: string, value: string): void => save(() => sessionStorage, name, value);

/** Even to name a storage throws where it is forbidden. */
function load(storage: () => Storage, name: string): string | null {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

function save(storage: () => Storage, name: string, value: string): void {
  try {
    storage().setItem(name, value);
  } catch {
    // Storage is forbidden: the next visit, or a reload, starts without the value.
  }
}
