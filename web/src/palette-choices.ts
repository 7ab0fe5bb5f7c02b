// The entries of the command palette: first the sessions, then the commands.

import { commandOf, isPinned, isRecorded, labelTextsOf, nameOf, runningCommand, searchTextOf } from "./format";
import type { Session } from "./messages";
import type { Choice } from "./palette";
import type { Rights } from "./rights";

/** What is open, which decides what commands there are. */
export interface PaletteContext {
  open: Session | undefined;
  mode: "rw" | "ro";
  controlled: boolean;
  /** The terminal is readable by screen readers. */
  read: boolean;
  /** The shell marks its commands, and one has ended. */
  hasOutput: boolean;
  /** Commands that one may not use are not offered. */
  rights: Rights;
}

export interface PaletteActions {
  goTo(session: Session): void;
  start(): void;
  startOther(): void;
  find(): void;
  pin(): void;
  /** Copies what the last command has printed. */
  copyOutput(): void;
  /** Tells when the command that runs now has ended. */
  tellEnd(session: Session): void;
  share(session: Session): void;
  edit(session: Session): void;
  end(session: Session): void;
  takeControl(): void;
  save(session: Session): void;
  watch(session: Session, only: boolean): void;
  /** Unfolds the list of ended sessions. */
  ended(): void;
  /** Makes the terminal readable by screen readers, or stops that. */
  read(): void;
  /** Shows who one is and what one may do. */
  account(): void;
  /** Shows so many sessions side by side. */
  split(count: 1 | 2 | 4): void;
  /** Opens the settings of the page. */
  settings(): void;
  tokens(): void;
  signOut(): void;
}

const command = (name: string, hint: string, act: () => void): Choice => ({ name, hint, more: "", status: "command", act });

export function paletteChoices(sessions: Session[], { open, mode, controlled, read, hasOutput, rights }: PaletteContext, actions: PaletteActions): Choice[] {
  const only = (may: boolean, ...commands: Choice[]): Choice[] => (may ? commands : []);
  const others = rights.list ? sessions.filter((session) => session !== open) : [];
  const jumps = (open === undefined || !rights.list ? others : [...others, open]).map((session): Choice => {
    const hint = [...labelTextsOf(session), session.title ?? commandOf(session)].join(" · ");
    return { name: nameOf(session), hint, more: searchTextOf(session), status: session.status, act: () => actions.goTo(session) };
  });
  const always = [
    ...only(
      rights.create,
      command("New session", "Alt+Shift+N", () => actions.start()),
      command("New session with a command…", "Alt+Shift+Enter", () => actions.startOther()),
    ),
    ...only(
      rights.list,
      command("One session", "Alt+Shift+1", () => actions.split(1)),
      command("Two sessions side by side", "Alt+Shift+2", () => actions.split(2)),
      command("Four sessions side by side", "Alt+Shift+4", () => actions.split(4)),
      command("Show ended sessions", "", () => actions.ended()),
    ),
    ...only(rights.tokens, command("Tokens", "who may come in", () => actions.tokens())),
    command("Settings", "font, theme, cursor, scrollback, bell", () => actions.settings()),
    command(read ? "Turn off the text for screen readers" : "Let screen readers read the terminal", "accessibility", () => actions.read()),
    command("Who am I?", "name, role", () => actions.account()),
    command("Sign out", "", () => actions.signOut()),
  ];
  if (open === undefined) return [...jumps, ...always];
  const name = nameOf(open);
  const here = [
    command("Find in the terminal", "Ctrl+Shift+F", () => actions.find()),
    ...only(hasOutput, command("Copy the last command's output", "", () => actions.copyOutput())),
    ...only(open.shell?.state === "running", command("Tell me when this command has ended", runningCommand(open) ?? "", () => actions.tellEnd(open))),
    ...only(
      rights.control,
      command(isPinned(open) ? `Do not keep ${name} for good` : `Keep ${name} for good (pin)`, "Alt+Shift+P", () => actions.pin()),
      command(`Change ${name}…`, "rename, labels", () => actions.edit(open)),
    ),
    ...only(rights.share, command(`Share ${name}…`, "make a link", () => actions.share(open))),
    ...only(
      rights.type,
      mode === "rw"
        ? command("View only", "see the terminal, type nothing", () => actions.watch(open, true))
        : command("Type here too", "", () => actions.watch(open, false)),
    ),
    ...(controlled && mode === "rw" ? [command("Take control", "use this window's size", () => actions.takeControl())] : []),
    ...(isRecorded(open) ? [command("Save the recording", "asciicast", () => actions.save(open))] : []),
    ...only(rights.control, command(`End ${name}…`, "kill", () => actions.end(open))),
  ];
  return [...jumps, ...here, ...always];
}
