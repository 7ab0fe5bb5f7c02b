// The page: connects the list of sessions, the open session and everything around it.

import { Account } from "./account";
import { reason, SessionActions } from "./actions";
import { ApiError, getSession, saveRecording } from "./api";
import { AttentionNotifier } from "./attention-notifier";
import { BrowserNotifications } from "./browser-notifications";
import { clientId } from "./client-id";
import { CopyQuestion, writeClipboard } from "./clipboard";
import type { ConnectionState } from "./connection";
import { DepartureNotice } from "./departure";
import { byId, setText } from "./dom";
import { EndedList } from "./ended-list";
import { FindBar } from "./find-bar";
import { nameOf, type SessionEnd } from "./format";
import { Header } from "./header";
import { InputBuffer } from "./input-buffer";
import { registerServiceWorker } from "./install";
import { followKeyboard, KeyBar } from "./key-bar";
import { LiveSessions } from "./live-sessions";
import { authorized, identify, returned, signInFromAddress } from "./login";
import type { Principal, Session, SessionEvent } from "./messages";
import { Palette } from "./palette";
import { paletteChoices } from "./palette-choices";
import { Panel, Toast } from "./panel";
import { NO_RIGHTS, rightsOf, scopeLabels, sharedSession } from "./rights";
import { addressOf, isReadOnly, lastSession, openId, openName, rememberSession, replace, TOKENS } from "./route";
import { connectScreenReaderButton, screenReader } from "./screen-reader";
import { SessionList } from "./session-list";
import { SessionView, type SessionViewCallbacks } from "./session-view";
import { SettingsDialog } from "./settings-dialog";
import { ShareDialog } from "./share-dialog";
import { shortcut, type Shortcuts } from "./shortcuts";
import { StatusBar } from "./status-bar";
import { stoppedNotice } from "./stopped-notice";
import { TabBadge } from "./tab-badge";
import { TokensPage } from "./tokens-page";
import "@xterm/xterm/css/xterm.css";
import "./styles.css";

const start = byId("start");
const target = byId("link-target");
const panel = new Panel();
const toast = new Toast();
const badge = new TabBadge();
const liveSessions = new LiveSessions({ changed: sessionsChanged, trouble: (text) => setText(byId("sessions-trouble"), text), eventReceived });
const actions = new SessionActions(liveSessions, toast, {
  opened: (session) => {
    // The session was restarted where it is open: attach to the new run.
    if (session.id === view?.id && view.over) closeView();
    goTo(session);
    openAddress();
  },
  done: () => view?.focus(),
  removed: (session) => {
    ended.changed();
    if (session.id === view?.id) location.hash = "";
  },
});
const notifications = new BrowserNotifications(
  (id) => (location.hash = addressOf(id)),
  (text) => toast.show(text),
);
const attentionNotifier = new AttentionNotifier(badge, notifications, {
  open: () => view?.id ?? null,
  name: (id) => {
    const session = liveSessions.get(id);
    return session === undefined ? null : nameOf(session);
  },
  say: (text) => toast.show(text),
});
const list = new SessionList(liveSessions, attentionNotifier.attention, {
  pin: (session) => void actions.pin(session),
  kill: (session) => void actions.end(session),
  searchClosed: (session) => {
    goTo(session);
    view?.focus();
  },
});
const ended = new EndedList();
const departure = new DepartureNotice({
  session: (id) => liveSessions.get(id),
  keep: (session) => void actions.pin(session),
});
const header = new Header({
  pin: () => pin(),
  find: () => view !== null && find.open(),
  share: () => open !== null && share.open(open),
  edit: () => open !== null && void actions.edit(open),
  end: () => open !== null && void actions.end(open),
});
const status = new StatusBar({
  retry: () => view?.retry(),
  fit: () => view?.fit(),
  zoom: () => view?.zoom(),
  takeControl: () => view?.takeControl(),
  typeHere: () => view !== null && (location.hash = addressOf(view.id)),
});
const find = new FindBar(
  () => view?.searched,
  () => view?.focus(),
);
const copyQuestion = new CopyQuestion((problem) => {
  if (problem !== null) toast.show(problem);
  view?.focus();
});
const palette = new Palette(() => view?.focus());
const share = new ShareDialog(() => view?.focus());
const account = new Account({ closed: () => view?.focus(), settings: () => settingsDialog.open(), trouble: (text) => toast.show(text) });
const settingsDialog = new SettingsDialog(() => view?.focus());
const tokensPage = new TokensPage((id) => {
  const session = liveSessions.get(id);
  return session === undefined ? null : nameOf(session);
});
const keyBar = new KeyBar({
  press: (key) => view?.press(key),
  paste,
});
/** Input of each session that is not accepted yet; it is kept while another session is open. */
const inputs = new Map<string, InputBuffer>();

/** What the user may do. */
let rights = NO_RIGHTS;
/** The one session of somebody who has come by a share link. */
let shared: string | null = null;
let client = "";
let view: SessionView | null = null;
/** The open session as last received, and its window title. */
let open: Session | null = null;
let title = "";

/** Opens the session in the address, the page with the tokens or the start screen. */
function openAddress(): void {
  const tokens = rights.tokens && location.hash === TOKENS;
  const id = shared ?? openId();
  const mode = rights.type && !isReadOnly() ? "rw" : "ro";
  const isOpen = id === (view?.id ?? null) && (view === null || mode === view.mode) && tokens === tokensPage.isOpen;
  if (client === "" || isOpen) return;
  closeView();
  if (tokens !== tokensPage.isOpen) tokensPage.show(tokens);
  const over = liveSessions.get(id) === undefined ? ended.get(id) : undefined;
  open = liveSessions.get(id) ?? over ?? null;
  title = "";
  list.select(id);
  ended.select(id);
  start.hidden = id !== null;
  showDrawer(id === null && !tokens);
  if (id !== null) {
    status.open();
    keyBar.show(mode === "rw" && over === undefined);
    view = openView(id, mode, open);
    departure.stay(id);
    markOpenSeen();
  }
  showTitle();
}

/** Replaces a session's name in the address by its id, or reports that no session has the name. */
async function resolveName(): Promise<void> {
  const asked = openName();
  if (asked === null) return;
  const { name, readOnly } = asked;
  try {
    const session = await authorized(() => getSession(name));
    // The user may have moved on in the meantime.
    if (openName()?.name === name) replace(addressOf(session.id, readOnly));
  } catch (error) {
    if (openName()?.name !== name) return;
    replace("");
    const unknown = error instanceof ApiError && error.status === 404;
    toast.show(unknown ? `No live session is called “${name}”.` : `Could not look up “${name}”: ${reason(error)}`);
  }
}

/** Closes the open session. */
function closeView(): void {
  attentionNotifier.markOpenSeen();
  find.clear();
  if (view !== null && !view.over) departure.leave(view.id);
  view?.close();
  view = null;
  panel.clear();
  status.clear();
  copyQuestion.clear();
  keyBar.show(false);
  target.hidden = true;
}

/** Types what is in the clipboard. */
function paste(): void {
  navigator.clipboard.readText().then(
    (text) => view?.paste(text),
    () => toast.show("The browser did not let the page read the clipboard."),
  );
}

function openView(id: string, mode: "rw" | "ro", known: Session | null): SessionView {
  const input = mode === "ro" ? new InputBuffer() : (inputs.get(id) ?? new InputBuffer());
  if (mode === "rw") inputs.set(id, input);
  const callbacks: SessionViewCallbacks = {
    attached({ session, client: named, scrollback_lines }) {
      if (scrollback_lines !== undefined) settingsDialog.boundScrollback(scrollback_lines);
      open = session;
      list.me = named;
      rememberSession(id);
      panel.clear();
      liveSessions.put(session);
    },
    state: (state) => liveSessions.applyState(id, state),
    titleChanged(text) {
      title = text;
      showTitle();
    },
    stopped,
    facts: (facts) => status.show(facts),
    trouble: (text) => toast.show(text),
    key: (event) => !shortcut(event, shortcuts, true),
    copyRequested: (text) => copyQuestion.ask(id, text),
    linkHovered(to) {
      target.hidden = to === null;
      setText(target, to ?? "");
    },
    searchResults: (index, count) => find.showResults(index, count),
    pasteRequested: paste,
    takeHeld: () => keyBar.take(),
  };
  return new SessionView(byId("terminal"), id, client, mode, input, callbacks, known);
}

/** Says why the open session cannot be used, and offers what can be done. */
function stopped(connectionState: ConnectionState, end: SessionEnd | null, session: Session | null): void {
  const known = session ?? open;
  open = known;
  const message = stoppedNotice(connectionState, end, known, {
    start: rights.create ? () => void actions.start() : null,
    restart: rights.control ? (one) => void actions.restart(one) : null,
    startLike: rights.create ? (one) => void actions.startLike(one) : null,
    remove: rights.purge ? (one) => void actions.remove(one) : null,
    save: (one) => saveRecording(one.id),
    attachHere() {
      panel.clear();
      void view?.attachHere();
    },
  });
  if (message !== null) panel.show(message);
  if (connectionState.is === "ended" || connectionState.is === "missing") {
    keyBar.show(false);
    if (view !== null) inputs.delete(view.id);
    liveSessions.sessions = liveSessions.sessions.filter(({ id }) => id !== view?.id);
    void liveSessions.refresh();
  }
  sessionsChanged();
}

/** Sessions were added, removed or changed. */
function sessionsChanged(): void {
  list.show();
  ended.removeLive((id) => liveSessions.get(id) !== undefined);
  const session = liveSessions.get(view?.id ?? null);
  if (view?.over && session !== undefined) {
    // The session was restarted, here or elsewhere.
    closeView();
    return openAddress();
  }
  open = session ?? open;
  departure.update();
  showTitle();
}

function eventReceived(event: SessionEvent): void {
  if (event.kind === "ended" || ended.get(event.session) !== undefined) ended.changed();
  attentionNotifier.receive(event);
}

/** The user sees the open session. */
function markOpenSeen(): void {
  attentionNotifier.markOpenSeen();
  list.show();
}

function goTo(session: Session | undefined): void {
  if (session !== undefined) location.hash = addressOf(session.id);
}

function pin(): void {
  const session = liveSessions.get(view?.id ?? null);
  if (rights.control && session !== undefined) void actions.pin(session);
}

const shortcuts: Shortcuts = {
  step: (by) => rights.list && goTo(list.neighbour(by)),
  start: () => rights.create && void actions.start(),
  startOther: () => rights.create && void actions.startOther(),
  list: () => {
    if (!rights.list) return;
    showDrawer(true);
    list.focus();
  },
  pin,
  question: () => copyQuestion.focus(),
  find: () => view !== null && find.open(),
  copy: () => view?.copy(),
  palette: () => {
    const now = {
      open: liveSessions.get(view?.id ?? null),
      mode: view?.mode ?? "rw",
      controlled: view?.isControlled ?? false,
      read: screenReader.isOn,
      hasOutput: view?.lastOutput() != null,
      rights,
    };
    palette.open(
      paletteChoices(liveSessions.sessions, now, {
        goTo,
        start: shortcuts.start,
        startOther: shortcuts.startOther,
        find: shortcuts.find,
        pin,
        copyOutput: () => {
          writeClipboard(view?.lastOutput() ?? "").catch(() => toast.show("The browser did not let the page write to the clipboard."));
        },
        tellEnd: (session) => {
          attentionNotifier.tellEnd(session.id);
          toast.show(`You hear of it when this command of ${nameOf(session)} has ended.`);
        },
        share: (session) => share.open(session),
        edit: (session) => void actions.edit(session),
        end: (session) => void actions.end(session),
        takeControl: () => view?.takeControl(),
        save: (session) => saveRecording(session.id),
        read: () => screenReader.toggle(),
        settings: () => settingsDialog.open(),
        account: () => account.open(),
        tokens: () => (location.hash = TOKENS),
        signOut: () => void account.signOut(),
        watch: (session, readOnly) => (location.hash = addressOf(session.id, readOnly)),
        ended: () => {
          showDrawer(true);
          byId<HTMLDetailsElement>("ended").open = true;
          byId("ended").querySelector("summary")?.focus();
        },
      }),
    );
  },
};

/** Shows the open session's name in the header and in the tab. */
function showTitle(): void {
  if (tokensPage.isOpen) return badge.setTitle(header.showPage("Tokens"));
  const isLive = liveSessions.get(view?.id ?? null) !== undefined;
  status.showStay(liveSessions.get(view?.id ?? null));
  badge.setTitle(header.show(view === null ? null : open, title, view !== null, isLive));
}

/** Shows or hides the list where the window is too narrow for both. */
function showDrawer(shown: boolean): void {
  document.body.classList.toggle("drawer", shown);
  byId("menu").setAttribute("aria-expanded", String(shown));
}

const trouble = (text: string): void => toast.show(text);

/** Asks whom the server takes the page for, until it answers. */
async function identifyWithPatience(): Promise<Principal> {
  for (;;) {
    try {
      const principal = await identify();
      toast.clear();
      return principal;
    } catch (error) {
      toast.show(reason(error));
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

async function main(): Promise<void> {
  document.querySelectorAll(".new-session").forEach((one) => one.addEventListener("click", shortcuts.start));
  byId("new-more").addEventListener("click", shortcuts.startOther);
  byId("settings-open").addEventListener("click", () => settingsDialog.open());
  byId("menu").addEventListener("click", () => showDrawer(!document.body.classList.contains("drawer")));
  byId("backdrop").addEventListener("click", () => showDrawer(false));
  for (const id of ["sessions", "ended-list"]) {
    byId(id).addEventListener("click", (event) => {
      if ((event.target as Element).closest("a") === null) return;
      if (view !== null) showDrawer(false);
      view?.focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    // The terminal passes on its own key events.
    const dialog = document.querySelector("dialog[open]");
    if (dialog === null && !(event.target as Element | null)?.closest(".frame")) shortcut(event, shortcuts, false);
    if (event.key === "Escape" && dialog === null && view !== null) showDrawer(false);
  });
  document.addEventListener("visibilitychange", markOpenSeen);
  document.addEventListener("visibilitychange", () => void returned());
  addEventListener("focus", () => void returned());
  followKeyboard();
  registerServiceWorker();
  connectScreenReaderButton();

  addEventListener("hashchange", () => void signInFromAddress(trouble).then(resolveName).then(openAddress));
  await signInFromAddress(trouble);
  const principal = await identifyWithPatience();
  rights = rightsOf(principal);
  shared = sharedSession(principal);
  actions.labels = scopeLabels(principal);
  account.show(principal, rights);
  await liveSessions.refresh();
  // An address with an unknown name must not open the last session instead.
  const wasNamed = openName() !== null;
  liveSessions.listen();
  client = await clientId();
  list.me = client;
  await resolveName();
  const last = lastSession();
  if (location.hash === "" && !wasNamed && last !== null && liveSessions.get(last) !== undefined) replace(addressOf(last));
  start.hidden = false;
  openAddress();
  if (view === null && !tokensPage.isOpen) showDrawer(true);
}

void main();
