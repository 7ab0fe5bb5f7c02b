// The page: a list of sessions, one open session, and what is said about it.

import { ApiError, getSession, saveRecording } from "./api";
import { Badge } from "./badge";
import { clientId } from "./client";
import { CopyQuestion } from "./clipboard";
import type { Link } from "./connection";
import { Deeds, reason } from "./deeds";
import { byId, say } from "./dom";
import { EndedList } from "./ended";
import { FindBar } from "./find";
import { Head } from "./head";
import { Input } from "./input";
import { choices } from "./jump";
import { followKeyboard, KeyBar } from "./keybar";
import { askForToken, authorized, signIn } from "./login";
import { Lookout } from "./lookout";
import type { Happening, Session } from "./messages";
import { Notifier } from "./notifier";
import { Palette } from "./palette";
import { Panel, Toast } from "./panel";
import { offerReading, screenReader } from "./reader";
import { Roster } from "./roster";
import { addressOf, looksOnly, openId, openName, remember, remembered, replace, takeToken } from "./route";
import { SessionList } from "./sessions";
import { type Shortcuts, shortcut } from "./shortcuts";
import { StatusBar } from "./status";
import { notice } from "./stopped";
import { type Owner, SessionView } from "./view";
import { type End, nameOf } from "./words";
import "@xterm/xterm/css/xterm.css";
import "./styles.css";

const start = byId("start");
const target = byId("target");
const panel = new Panel();
const toast = new Toast();
const badge = new Badge();
const roster = new Roster({ changed, trouble: (text) => say(byId("sessions-trouble"), text), happened });
const deeds = new Deeds(roster, toast, {
  opened: (session) => {
    // Where it was before, it runs again.
    if (session.id === view?.id && view.over) leave();
    go(session);
    route();
  },
  done: () => view?.focus(),
  removed: (session) => {
    ended.changed();
    if (session.id === view?.id) location.hash = "";
  },
});
const notifier = new Notifier(
  (id) => (location.hash = addressOf(id)),
  (text) => toast.show(text),
);
const lookout = new Lookout(badge, notifier, {
  open: () => view?.id ?? null,
  name: (id) => {
    const session = roster.get(id);
    return session === undefined ? null : nameOf(session);
  },
});
const list = new SessionList(roster, lookout.attention, {
  pin: (session) => void deeds.pin(session),
  kill: (session) => void deeds.end(session),
  left: (session) => {
    go(session);
    view?.focus();
  },
});
const ended = new EndedList();
const head = new Head({
  pin: () => pin(),
  find: () => view !== null && find.open(),
  edit: () => open !== null && void deeds.edit(open),
  end: () => open !== null && void deeds.end(open),
});
const status = new StatusBar({
  retry: () => view?.retry(),
  fit: () => view?.fit(),
  takeControl: () => view?.takeControl(),
  typeHere: () => view !== null && (location.hash = addressOf(view.id)),
});
const find = new FindBar(
  () => view?.searched,
  () => view?.focus(),
);
const question = new CopyQuestion((problem) => {
  if (problem !== null) toast.show(problem);
  view?.focus();
});
const palette = new Palette(() => view?.focus());
const keybar = new KeyBar({
  press: (key) => view?.press(key),
  paste: () => {
    navigator.clipboard.readText().then(
      (text) => view?.paste(text),
      () => toast.show("The browser did not let the page read the clipboard."),
    );
  },
});
/** What was typed into each session and not accepted; outlives a look at another one. */
const inputs = new Map<string, Input>();

let client = "";
let view: SessionView | null = null;
/** The open session as last heard of, and its window title. */
let open: Session | null = null;
let title = "";

/** Opens the session that the address names, or the start screen. */
function route(): void {
  const id = openId();
  const mode = looksOnly() ? "ro" : "rw";
  if (client === "" || (id === (view?.id ?? null) && (view === null || mode === view.mode))) return;
  leave();
  const over = roster.get(id) === undefined ? ended.get(id) : undefined;
  open = roster.get(id) ?? over ?? null;
  title = "";
  list.select(id);
  ended.select(id);
  start.hidden = id !== null;
  drawer(id === null);
  if (id !== null) {
    status.open();
    keybar.show(mode === "rw" && over === undefined);
    view = show(id, mode, open);
    look();
  }
  entitle();
}

/** Puts a session's id into the address in place of its name, or says that there is none. */
async function resolve(): Promise<void> {
  const asked = openName();
  if (asked === null) return;
  const { name, only } = asked;
  try {
    const session = await authorized(() => getSession(name));
    // Somebody may have gone on meanwhile.
    if (openName()?.name === name) replace(addressOf(session.id, only));
  } catch (error) {
    if (openName()?.name !== name) return;
    replace("");
    const unknown = error instanceof ApiError && error.status === 404;
    toast.show(unknown ? `No live session is called “${name}”.` : `Could not look for “${name}”: ${reason(error)}`);
  }
}

/** Closes what is open. */
function leave(): void {
  lookout.look();
  find.clear();
  view?.close();
  view = null;
  panel.clear();
  status.clear();
  question.clear();
  keybar.show(false);
  target.hidden = true;
}

function show(id: string, mode: "rw" | "ro", known: Session | null): SessionView {
  const input = mode === "ro" ? new Input() : (inputs.get(id) ?? new Input());
  if (mode === "rw") inputs.set(id, input);
  const owner: Owner = {
    attached({ session, client: named }) {
      open = session;
      list.me = named;
      remember(id);
      panel.clear();
      roster.put(session);
    },
    state: (state) => roster.heard(id, state),
    titled(text) {
      title = text;
      entitle();
    },
    stopped,
    facts: (facts) => status.show(facts),
    trouble: (text) => toast.show(text),
    key: (event) => !shortcut(event, shortcuts, true),
    copies: (text) => question.ask(id, text),
    points(to) {
      target.hidden = to === null;
      say(target, to ?? "");
    },
    found: (index, count) => find.found(index, count),
    held: () => keybar.take(),
  };
  return new SessionView(byId("terminal"), id, client, mode, input, owner, known);
}

/** Says why the open session cannot be used, and what to do. */
function stopped(link: Link, end: End | null, session: Session | null): void {
  const known = session ?? open;
  open = known;
  const said = notice(link, end, known, {
    start: () => void deeds.start(),
    again: (one) => void deeds.again(one),
    like: (one) => void deeds.startLike(one),
    remove: (one) => void deeds.remove(one),
    save: (one) => saveRecording(one.id),
    attachHere() {
      panel.clear();
      void view?.attachHere();
    },
  });
  if (said !== null) panel.show(said);
  if (link.is === "ended" || link.is === "missing") {
    keybar.show(false);
    if (view !== null) inputs.delete(view.id);
    roster.sessions = roster.sessions.filter(({ id }) => id !== view?.id);
    void roster.refresh();
  }
  changed();
}

/** The sessions are others, or stand otherwise. */
function changed(): void {
  list.show();
  ended.without((id) => roster.get(id) !== undefined);
  const session = roster.get(view?.id ?? null);
  if (view?.over && session !== undefined) {
    // It was started again, here or elsewhere.
    leave();
    return route();
  }
  open = session ?? open;
  entitle();
}

function happened(event: Happening): void {
  if (event.kind === "ended" || ended.get(event.session) !== undefined) ended.changed();
  lookout.hear(event);
}

/** Somebody looks at the open session. */
function look(): void {
  lookout.look();
  list.show();
}

function go(session: Session | undefined): void {
  if (session !== undefined) location.hash = addressOf(session.id);
}

function pin(): void {
  const session = roster.get(view?.id ?? null);
  if (session !== undefined) void deeds.pin(session);
}

const shortcuts: Shortcuts = {
  step: (by) => go(list.neighbour(by)),
  start: () => void deeds.start(),
  startOther: () => void deeds.startOther(),
  list: () => {
    drawer(true);
    list.focus();
  },
  pin,
  question: () => question.focus(),
  find: () => view !== null && find.open(),
  copy: () => view?.copy(),
  palette: () => {
    const now = {
      open: roster.get(view?.id ?? null),
      mode: view?.mode ?? "rw",
      controlled: view?.isControlled ?? false,
      read: screenReader.isOn,
    };
    palette.open(
      choices(roster.sessions, now, {
        go,
        start: shortcuts.start,
        startOther: shortcuts.startOther,
        find: shortcuts.find,
        pin,
        edit: (session) => void deeds.edit(session),
        end: (session) => void deeds.end(session),
        takeControl: () => view?.takeControl(),
        save: (session) => saveRecording(session.id),
        read: () => screenReader.toggle(),
        watch: (session, only) => (location.hash = addressOf(session.id, only)),
        ended: () => {
          drawer(true);
          byId<HTMLDetailsElement>("ended").open = true;
          byId("ended").querySelector("summary")?.focus();
        },
      }),
    );
  },
};

/** Names the open session in the head and in the tab. */
function entitle(): void {
  const isLive = roster.get(view?.id ?? null) !== undefined;
  badge.entitle(head.show(view === null ? null : open, title, view !== null, isLive));
}

/** Shows or hides the list where there is no room for both. */
function drawer(shown: boolean): void {
  document.body.classList.toggle("drawer", shown);
  byId("menu").setAttribute("aria-expanded", String(shown));
}

/** A token in the address signs in; it is out of the address before anything else. */
async function welcome(): Promise<void> {
  const token = takeToken();
  if (token === null) return;
  try {
    if (await signIn(token)) return;
  } catch (error) {
    toast.show(`Could not sign in: ${reason(error)}`);
    return;
  }
  await askForToken("The address carried a token that is not this server's. Run “stayd url” for the current one.");
}

async function main(): Promise<void> {
  document.querySelectorAll(".new-session").forEach((one) => one.addEventListener("click", shortcuts.start));
  byId("new-more").addEventListener("click", shortcuts.startOther);
  byId("menu").addEventListener("click", () => drawer(!document.body.classList.contains("drawer")));
  byId("shade").addEventListener("click", () => drawer(false));
  for (const id of ["sessions", "ended-list"]) {
    byId(id).addEventListener("click", (event) => {
      if ((event.target as Element).closest("a") === null) return;
      if (view !== null) drawer(false);
      view?.focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    // The terminal hands its own keys on.
    const dialog = document.querySelector("dialog[open]");
    if (dialog === null && !(event.target as Element | null)?.closest(".frame")) shortcut(event, shortcuts, false);
    if (event.key === "Escape" && dialog === null && view !== null) drawer(false);
  });
  document.addEventListener("visibilitychange", look);
  followKeyboard();
  offerReading();

  addEventListener("hashchange", () => void welcome().then(resolve).then(route));
  await welcome();
  await roster.refresh();
  // Whoever asks for one session and is told that there is none does not want another.
  const wasNamed = openName() !== null;
  roster.listen();
  client = await clientId();
  list.me = client;
  await resolve();
  const last = remembered();
  if (openId() === null && !wasNamed && last !== null && roster.get(last) !== undefined) replace(addressOf(last));
  start.hidden = openId() !== null;
  route();
  if (view === null) drawer(true);
}

void main();
