// The page's own keys: Alt+Shift with another key, which hardly any program uses, and the usual
// Ctrl+Shift keys of terminals.

export interface Shortcuts {
  step(by: 1 | -1): void;
  start(): void;
  startOther(): void;
  palette(): void;
  list(): void;
  /** Goes to the session that has waited longest for somebody. */
  waiting(): void;
  pin(): void;
  /** Shows so many sessions side by side. */
  split(count: 1 | 2 | 4): void;
  /** Moves the focus to the next or the previous pane. */
  pane(by: 1 | -1): void;
  /** Moves the focus to the question about the clipboard. */
  question(): void;
  find(): void;
  copy(): void;
}

/** Does what a key asks for; true if the key is the page's, so that the program must not get it. */
export function shortcut(event: KeyboardEvent, page: Shortcuts, inTerminal: boolean): boolean {
  const { altKey, ctrlKey, metaKey, shiftKey } = event;
  if (!shiftKey || metaKey) return false;
  let act: (() => void) | undefined;
  if (altKey && !ctrlKey) {
    const acts: Record<string, () => void> = {
      ArrowUp: () => page.step(-1),
      ArrowDown: () => page.step(1),
      ArrowLeft: () => page.pane(-1),
      ArrowRight: () => page.pane(1),
      Digit1: () => page.split(1),
      Digit2: () => page.split(2),
      Digit4: () => page.split(4),
      KeyN: () => page.start(),
      Enter: () => page.startOther(),
      KeyK: () => page.palette(),
      KeyS: () => page.list(),
      KeyP: () => page.pin(),
      KeyW: () => page.waiting(),
      KeyC: () => page.question(),
    };
    act = acts[event.code];
  } else if (ctrlKey && !altKey) {
    if (event.code === "KeyF") act = () => page.find();
    if (event.code === "KeyC" && inTerminal) act = () => page.copy();
    // The browser pastes by itself, provided the terminal does not handle the key.
    if (event.code === "KeyV" && inTerminal) return true;
  }
  if (act === undefined) return false;
  event.preventDefault();
  if (event.type === "keydown") act();
  return true;
}
