// The page: a list of sessions, one open session, and what is said about it.

import { ApiError, changeSession, createSession, killSession } from "./api";
import { change } from "./change";
import { clientId } from "./client";
import { byId, say } from "./dom";
import type { Link } from "./connection";
import { Input } from "./input";
import { askForToken, authorized, signIn } from "./login";
import type { Session } from "./messages";
import { confirmed, Panel, Toast } from "./panel";
import { addressOf, openId, remember, remembered, replace, takeToken } from "./route";
import { SessionList } from "./sessions";
import { StatusBar } from "./status";
import { SessionView } from "./view";
import { commandOf, type End, endOf, nameOf } from "./words";
import "@xterm/xterm/css/xterm.css";
import "./styles.css";

const place = byId("terminal");
const start = byId("start");
const heading = byId("title");
const subtitle = byId("subtitle");
const editButton = byId<HTMLButtonElement>("edit");
const endButton = byId<HTMLButtonElement>("end");
const newButtons = document.querySelectorAll<HTMLButtonElement>(".new-session");

const panel = new Panel();
const toast = new Toast();
const status = new StatusBar({ retry: () => view?.retry(), fit: () => view?.fit() });
const list = new SessionList((session) => void kill(session), entitle, (session) => {
  go(session);
  view?.focus();
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
  if (client === "" || id === (view?.id ?? null)) return;
  view?.close();
  view = null;
  open = id === null ? null : (list.sessions.find((session) => session.id === id) ?? null);
  title = "";
  panel.clear();
  status.clear();
  list.select(id);
  start.hidden = id !== null;
  drawer(id === null);
  if (id !== null) {
    status.open();
    view = show(id);
  }
  entitle();
}

function show(id: string): SessionView {
  const input = inputs.get(id) ?? new Input();
  inputs.set(id, input);
  return new SessionView(place, id, client, input, {
    attached({ session }) {
      open = session;
      remember(id);
      panel.clear();
      entitle();
      void list.refresh();
    },
    state: (state) => list.heard(id, state),
    titled(text) {
      title = text;
      entitle();
    },
    stopped,
    facts: (facts) => status.show(facts),
    trouble: (text) => toast.show(text),
    key,
  });
}

/** Says why the open session cannot be used, and what to do. */
function stopped(link: Link, end: End | null): void {
  const fresh = { label: "New session", act: () => void create(), primary: true };
  endButton.hidden = true;
  editButton.hidden = true;
  if (link.is === "taken-over") {
    const act = () => {
      panel.clear();
      void view?.attachHere();
    };
    panel.show({
      title: "Opened in another tab",
      text: "The other tab uses this session in place of this one. Both can.",
      tone: "plain",
      actions: [{ label: "Use it here as well", act, primary: true }],
    });
  } else if (link.is === "refused") {
    const text = link.why === "" ? "The server refused this connection." : link.why;
    const again = { label: "Reload", act: () => location.reload() };
    panel.show({ title: "Refused", text, tone: "bad", actions: [again] });
  } else if (link.is === "missing") {
    const text = "The server knows no session under this address. It may have been removed.";
    panel.show({ title: "No such session", text, tone: "bad", actions: [fresh] });
  } else if (end !== null) {
    const good = end.signal === null && (end.code === 0 || end.code === null);
    const text = endOf(end);
    panel.show({ title: "Session ended", text, tone: good ? "good" : "bad", actions: [fresh] });
  }
  if (link.is === "ended" || link.is === "missing") {
    if (view !== null) inputs.delete(view.id);
    void list.refresh();
  }
}

/** Starts a shell and opens it. */
async function create(): Promise<void> {
  newButtons.forEach((one) => (one.disabled = true));
  try {
    const session = await authorized(() => createSession({ profile: "shell" }));
    toast.clear();
    list.sessions = [session, ...list.sessions.filter(({ id }) => id !== session.id)];
    location.hash = addressOf(session.id);
    void list.refresh();
  } catch (error) {
    toast.show(`No new session: ${reason(error)}`);
  } finally {
    newButtons.forEach((one) => (one.disabled = false));
  }
}

/** Gives a session another name, another time to live, or both. */
async function edit(session: Session): Promise<void> {
  const wanted = await change(session);
  if (wanted !== null) {
    try {
      await authorized(() => changeSession(session.id, wanted));
      toast.clear();
    } catch (error) {
      toast.show(`${nameOf(session)} was not changed: ${reason(error)}`);
    }
    void list.refresh();
  }
  view?.focus();
}

/** Ends a session and everything in it, if that is really wanted. */
async function kill(session: Session): Promise<void> {
  const text = `${commandOf(session)} and everything that runs in it will be ended. This cannot be undone.`;
  if (!(await confirmed(`End ${nameOf(session)}?`, text, "End session"))) return view?.focus();
  try {
    await authorized(() => killSession(session.id));
  } catch (error) {
    toast.show(`${nameOf(session)} was not ended: ${reason(error)}`);
  }
  void list.refresh();
}

/** The page's own keys: Alt+Shift with an arrow, K, N or S. */
function key(event: KeyboardEvent): boolean {
  if (!event.altKey || !event.shiftKey || event.ctrlKey || event.metaKey) return true;
  const actions: Record<string, () => void> = {
    ArrowUp: () => go(list.neighbour(-1)),
    ArrowDown: () => go(list.neighbour(1)),
    KeyN: () => void create(),
    KeyK: () => {
      drawer(true);
      list.find();
    },
    KeyS: () => {
      drawer(true);
      list.focus();
    },
  };
  const action = actions[event.code];
  if (action === undefined) return true;
  event.preventDefault();
  if (event.type === "keydown") action();
  return false;
}

function go(session: Session | undefined): void {
  if (session !== undefined) location.hash = addressOf(session.id);
}

/** Names the open session in the head and in the tab. */
function entitle(): void {
  open = list.sessions.find(({ id }) => id === view?.id) ?? open;
  const named = view !== null && open !== null;
  const name = named ? nameOf(open as Session) : "";
  say(heading, named ? name : view === null ? "Sessions" : "Session");
  say(subtitle, named ? title || (open as Session).title || commandOf(open as Session) : "");
  const live = list.sessions.some(({ id }) => id === view?.id);
  endButton.hidden = !live;
  editButton.hidden = !live;
  document.title = named ? `${title || name} · stayd` : "stayd";
}

/** Shows or hides the list where there is no room for both. */
function drawer(shown: boolean): void {
  document.body.classList.toggle("drawer", shown);
  byId("menu").setAttribute("aria-expanded", String(shown));
}

function reason(error: unknown): string {
  if (error instanceof ApiError && error.code === "spawn_failed") {
    return `the command could not be started (${error.message})`;
  }
  return error instanceof Error ? error.message : String(error);
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
  newButtons.forEach((one) => one.addEventListener("click", () => void create()));
  editButton.addEventListener("click", () => open !== null && void edit(open));
  endButton.addEventListener("click", () => open !== null && void kill(open));
  byId("menu").addEventListener("click", () => drawer(!document.body.classList.contains("drawer")));
  byId("shade").addEventListener("click", () => drawer(false));
  byId("sessions").addEventListener("click", () => {
    if (view !== null) drawer(false);
    view?.focus();
  });
  document.addEventListener("keydown", (event) => {
    // The terminal hands its own keys on to `key`.
    const dialog = document.querySelector("dialog[open]");
    if (dialog === null && !(event.target as Element | null)?.closest(".frame")) key(event);
  });

  addEventListener("hashchange", () => void welcome().then(route));
  await welcome();
  await list.refresh();
  client = await clientId();
  const last = remembered();
  if (openId() === null && last !== null && list.sessions.some(({ id }) => id === last)) {
    replace(addressOf(last));
  }
  start.hidden = openId() !== null;
  route();
  if (view === null) drawer(true);
}

void main();
