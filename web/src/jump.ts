// What the switcher offers: the sessions first, then what can be done.

import type { Session } from "./messages";
import type { Choice } from "./palette";
import { commandOf, isPinned, isRecorded, knownOf, labelsOn, nameOf } from "./words";

/** What is looked at now. */
export interface Now {
  open: Session | undefined;
  mode: "rw" | "ro";
  controlled: boolean;
  /** Screen readers can read the terminal. */
  read: boolean;
}

export interface Ways {
  go(session: Session): void;
  start(): void;
  startOther(): void;
  find(): void;
  pin(): void;
  edit(session: Session): void;
  end(session: Session): void;
  takeControl(): void;
  save(session: Session): void;
  watch(session: Session, only: boolean): void;
  /** Unfolds the ended sessions. */
  ended(): void;
  /** Lets screen readers read the terminal, or no longer. */
  read(): void;
}

const command = (name: string, hint: string, act: () => void): Choice => ({ name, hint, more: "", status: "command", act });

export function choices(sessions: Session[], { open, mode, controlled, read }: Now, ways: Ways): Choice[] {
  const others = sessions.filter((session) => session !== open);
  const jumps = (open === undefined ? others : [...others, open]).map((session): Choice => {
    const hint = [...labelsOn(session), session.title ?? commandOf(session)].join(" · ");
    return { name: nameOf(session), hint, more: knownOf(session), status: session.status, act: () => ways.go(session) };
  });
  const always = [
    command("New session", "Alt+Shift+N", () => ways.start()),
    command("New session with a command…", "Alt+Shift+Enter", () => ways.startOther()),
    command("Show ended sessions", "", () => ways.ended()),
    command(read ? "Screen readers: off" : "Let screen readers read the terminal", "accessibility", () => ways.read()),
  ];
  if (open === undefined) return [...jumps, ...always];
  const name = nameOf(open);
  const here = [
    command("Find in the terminal", "Ctrl+Shift+F", () => ways.find()),
    command(isPinned(open) ? `Do not keep ${name} for good` : `Keep ${name} for good (pin)`, "Alt+Shift+P", () => ways.pin()),
    command(`Change ${name}…`, "rename, labels", () => ways.edit(open)),
    mode === "rw"
      ? command("Watch only", "look, do not type", () => ways.watch(open, true))
      : command("Type here too", "", () => ways.watch(open, false)),
    ...(controlled && mode === "rw" ? [command("Take control", "this window's size", () => ways.takeControl())] : []),
    ...(isRecorded(open) ? [command("Save the recording", "asciicast", () => ways.save(open))] : []),
    command(`End ${name}…`, "kill", () => ways.end(open)),
  ];
  return [...jumps, ...here, ...always];
}
