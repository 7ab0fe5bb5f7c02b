// The page: connects the list of sessions, the open session and everything around it.

import { Account } from "./account";
import { reason, SessionActions } from "./actions";
import { saveRecording } from "./api";
import { AttentionNotifier } from "./attention-notifier";
import { BrowserNotifications } from "./browser-notifications";
import { clientId } from "./client-id";
import { CopyQuestion, writeClipboard } from "./clipboard";
import { DepartureNotice } from "./departure";
import { byId, setText } from "./dom";
import { EndedList } from "./ended-list";
import { FindBar } from "./find-bar";
import { Fleet } from "./fleet";
import { nameOf } from "./format";
import { Header } from "./header";
import { registerServiceWorker } from "./install";
import { followKeyboard, KeyBar } from "./key-bar";
import { LayoutControl } from "./layout-control";
import { LiveSessions } from "./live-sessions";
import { identify, returned, signInFromAddress } from "./login";
import type { Principal, Session, SessionEvent } from "./messages";
import { resolveName } from "./named-session";
import { NewMenu } from "./new-menu";
import { Palette } from "./palette";
import { paletteChoices } from "./palette-choices";
import { Panel, Toast } from "./panel";
import { Panes } from "./panes";
import { RemoteSessions } from "./remote-sessions";
import { NO_RIGHTS, rightsOf, scopeLabels, sharedSession } from "./rights";
import { addressOf, isReadOnly, lastSession, openId, openName, rememberSession, replace, TOKENS } from "./route";
import { connectScreenReaderButton, screenReader } from "./screen-reader";
import { SessionList } from "./session-list";
import type { SessionView } from "./session-view";
import { SettingsDialog } from "./settings-dialog";
import { ShareDialog } from "./share-dialog";
import { shortcut, type Shortcuts } from "./shortcuts";
import { StatusBar } from "./status-bar";
import { TabBadge } from "./tab-badge";
import { TokensPage } from "./tokens-page";
import { longestWaiting } from "./waiting";
import { Workspace } from "./workspace";
import "@xterm/xterm/css/xterm.css";
import "./styles.css";

const start = byId("start");
const panel = new Panel();
const toast = new Toast();
const badge = new TabBadge();
const panes = new Panes({
  focused: () => {
    for (const pane of panes.all) pane.view?.searched.search.clearDecorations();
    find.clear();
    const { view } = panes.focused;
    replace(view === null ? "" : addressOf(view.id, view.mode === "ro"));
    if (view !== null) rememberSession(view.id);
    showFocused();
  },
  dropped: (pane, id) => {
    panes.choose(pane);
    goTo(liveSessions.get(id));
    openAddress();
  },
  closed: (pane) => {
    workspace.close(pane);
    if (pane === panes.focused) replace("");
    layout.save();
    showFocused();
  },
});
/** The session's view in the pane that has the focus. */
const focusedView = (): SessionView | null => panes.focused.view;
const fleet = new Fleet(() => {
  remoteSessions.follow();
  sessionsChanged();
});
const remoteSessions = new RemoteSessions(fleet, {
  changed: sessionsChanged,
  news: (event) => attentionNotifier.receive(event),
  gone: (ids) => attentionNotifier.gone(ids),
  isWanted: (machine) => list.isUnfolded(machine) || panes.all.some(({ session }) => session?.node === machine),
});
const liveSessions = new LiveSessions(remoteSessions, (session) => fleet.isForeign(session), {
  changed: sessionsChanged,
  trouble: (text) => setText(byId("sessions-trouble"), text),
  eventReceived,
});
const actions = new SessionActions(liveSessions, fleet, toast, {
  opened: (session) => {
    // The session was restarted where it is open: attach to the new run.
    const pane = panes.of(session.id);
    if (pane?.view?.over) {
      panes.choose(pane);
      workspace.close(pane);
    }
    if (pane === undefined) panes.chooseRoom();
    goTo(session);
    openAddress();
  },
  done: () => focusedView()?.focus(),
  removed: (session) => {
    ended.changed();
    const pane = panes.of(session.id);
    if (pane === panes.focused) location.hash = "";
    else if (pane !== undefined) workspace.close(pane);
  },
});
const notifications = new BrowserNotifications(
  (id) => (location.hash = addressOf(id)),
  (text) => toast.show(text),
);
const attentionNotifier = new AttentionNotifier(badge, notifications, {
  open: () => panes.all.flatMap(({ view }) => view?.id ?? []),
  name: (id) => {
    const session = liveSessions.get(id);
    return session === undefined ? null : nameOf(session);
  },
  say: (text) => toast.show(text),
});
const list = new SessionList(liveSessions, fleet, attentionNotifier.attention, {
  startOn: (node) => void actions.start({ profile: "shell", node }),
  folded: () => void remoteSessions.refresh(),
  pin: (session) => void actions.pin(session),
  kill: (session) => void actions.end(session),
  answer: (session, line) => actions.answer(session, line),
  searchClosed: (session) => {
    goTo(session);
    focusedView()?.focus();
  },
});
const ended = new EndedList();
const departure = new DepartureNotice({
  session: (id) => liveSessions.get(id),
  keep: (session) => void actions.pin(session),
});
const header = new Header({
  pin: () => pin(),
  find: () => focusedView() !== null && find.open(),
  share: () => withSession((session) => share.open(session)),
  edit: () => withSession((session) => void actions.edit(session)),
  end: () => withSession((session) => void actions.end(session)),
});
const status = new StatusBar({
  retry: () => focusedView()?.retry(),
  fit: () => focusedView()?.fit(),
  zoom: () => focusedView()?.zoom(),
  takeControl: () => focusedView()?.takeControl(),
  typeHere: () => {
    const view = focusedView();
    if (view !== null) location.hash = addressOf(view.id);
  },
});
const find = new FindBar(
  () => focusedView()?.searched,
  () => focusedView()?.focus(),
);
const copyQuestion = new CopyQuestion((problem) => {
  if (problem !== null) toast.show(problem);
  focusedView()?.focus();
});
const palette = new Palette(() => focusedView()?.focus());
new NewMenu({
  startOther: (elsewhere) => void actions.startOther(elsewhere),
  start: (profile) => void actions.start({ profile }),
  startAnywhere: () => void actions.start({ profile: "shell", node: "any" }),
  inFleet: () => fleet.state !== null,
});
const share = new ShareDialog(() => focusedView()?.focus());
const account = new Account({ closed: () => focusedView()?.focus(), settings: () => settingsDialog.open(), trouble: (text) => toast.show(text) });
const settingsDialog = new SettingsDialog(() => focusedView()?.focus());
const tokensPage = new TokensPage((id) => {
  const session = liveSessions.get(id);
  return session === undefined ? null : nameOf(session);
});
const keyBar = new KeyBar({
  press: (key) => focusedView()?.press(key),
  paste,
});
const workspace = new Workspace(
  { panes, liveSessions, fleet, ended, actions, attentionNotifier, departure, status, panel, toast, find, keyBar, copyQuestion },
  {
    client: () => client,
    rights: () => rights,
    attached: ({ client: named, scrollback_lines }) => {
      list.me = named;
      if (scrollback_lines !== undefined) settingsDialog.boundScrollback(scrollback_lines);
    },
    titleChanged: () => showTitle(),
    key: (event) => !shortcut(event, shortcuts, true),
    pasteRequested: paste,
    opened: () => {
      layout.save();
      showFocused();
    },
    changed: sessionsChanged,
  },
);
const layout = new LayoutControl(panes, {
  open: (pane, { id, readOnly }) => {
    if (liveSessions.get(id) !== undefined) workspace.open(pane, id, modeOf(id, readOnly));
  },
  changed: () => showFocused(),
});

/** What the user may do. */
let rights = NO_RIGHTS;
/** The one session of somebody who has come by a share link. */
let shared: string | null = null;
let client = "";

/** The sessions to which one can go: not those of machines that are away. */
const reachable = (): Session[] => liveSessions.sessions.filter((session) => !fleet.isAway(session));

/** How a session is opened: for looking only where one may not type. */
function modeOf(id: string | null, readOnly: boolean): "rw" | "ro" {
  const session = liveSessions.get(id);
  return rights.type && !readOnly && (session === undefined || !fleet.looksOnly(session)) ? "rw" : "ro";
}

/** Opens the session in the address, the page with the tokens or the start screen. A session that is in
    another pane is gone to. */
function openAddress(): void {
  if (client === "") return;
  const tokens = rights.tokens && location.hash === TOKENS;
  const id = shared ?? openId();
  const mode = modeOf(id, isReadOnly());
  const pane = panes.of(id) ?? panes.focused;
  if (pane !== panes.focused) {
    panes.choose(pane);
    pane.view?.focus();
    showFocused();
  }
  if (id === (pane.view?.id ?? null) && (pane.view === null || mode === pane.view.mode) && tokens === tokensPage.isOpen) return;
  workspace.close(pane);
  if (tokens !== tokensPage.isOpen) tokensPage.show(tokens);
  showDrawer(id === null && !tokens);
  if (id === null) showFocused();
  else workspace.open(pane, id, mode);
}

/** Shows everything around the panes as it is for the one that has the focus. */
function showFocused(): void {
  const { view, facts, notice } = panes.focused;
  list.select(view?.id ?? null);
  ended.select(view?.id ?? null);
  start.hidden = view !== null || panes.all.length > 1;
  if (facts !== null) status.show(facts);
  else if (view !== null) status.open();
  else if (panes.all.length > 1) status.blank();
  else status.clear();
  if (notice === null) panel.clear();
  else panel.show(notice);
  keyBar.show(view !== null && view.mode === "rw" && !view.over);
  if (view !== null) markOpenSeen();
  showTitle();
}

/** Types what is in the clipboard. */
function paste(): void {
  navigator.clipboard.readText().then(
    (text) => focusedView()?.paste(text),
    () => toast.show("The browser did not let the page read the clipboard."),
  );
}

/** Sessions were added, removed or changed. */
function sessionsChanged(): void {
  list.show();
  ended.removeLive((id) => liveSessions.get(id) !== undefined);
  workspace.update();
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

/** Does something to the session in the pane that has the focus, if it is known. */
function withSession(act: (session: Session) => void): void {
  const { session } = panes.focused;
  if (session !== null) act(session);
}

function goTo(session: Session | undefined): void {
  if (session !== undefined) location.hash = addressOf(session.id);
}

function pin(): void {
  const session = liveSessions.get(focusedView()?.id ?? null);
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
  waiting: () => {
    if (!rights.list) return;
    const session = longestWaiting(reachable(), focusedView()?.id ?? null);
    if (session === undefined) return toast.show("Nobody waits for you.");
    goTo(session);
    focusedView()?.focus();
  },
  split: (count) => rights.list && layout.choose(count),
  pane: (by) => panes.neighbour(by)?.focus(),
  question: () => copyQuestion.focus(),
  find: () => focusedView() !== null && find.open(),
  copy: () => focusedView()?.copy(),
  palette: () => {
    const now = {
      open: liveSessions.get(focusedView()?.id ?? null),
      mode: focusedView()?.mode ?? "rw",
      controlled: focusedView()?.isControlled ?? false,
      read: screenReader.isOn,
      hasOutput: focusedView()?.lastOutput() != null,
      rights,
    };
    palette.open(
      paletteChoices(reachable(), now, {
        goTo,
        start: shortcuts.start,
        startOther: shortcuts.startOther,
        find: shortcuts.find,
        pin,
        copyOutput: () => {
          writeClipboard(focusedView()?.lastOutput() ?? "").catch(() => toast.show("The browser did not let the page write to the clipboard."));
        },
        tellEnd: (session) => {
          attentionNotifier.tellEnd(session.id);
          toast.show(`You hear of it when this command of ${nameOf(session)} has ended.`);
        },
        share: (session) => share.open(session),
        edit: (session) => void actions.edit(session),
        end: (session) => void actions.end(session),
        takeControl: () => focusedView()?.takeControl(),
        save: (session) => saveRecording(session.id),
        read: () => screenReader.toggle(),
        split: shortcuts.split,
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
  const { view, session, windowTitle } = panes.focused;
  const live = liveSessions.get(focusedView()?.id ?? null);
  status.showStay(live);
  const shown = view === null ? null : session;
  const machine = shown !== null && fleet.isForeign(shown) ? (shown.node ?? null) : null;
  badge.setTitle(header.show(shown, windowTitle, view !== null, live !== undefined, machine));
}

/** Shows or hides the list where the window is too narrow for both. */
function showDrawer(shown: boolean): void {
  document.body.classList.toggle("drawer", shown);
  byId("menu").setAttribute("aria-expanded", String(shown));
}

/** So long the page waits for the sessions of other machines before it shows what was open last. */
const REMOTE_MS = 1500;

const resolve = (): Promise<void> => resolveName(actions, toast, rights);

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
  byId("settings-open").addEventListener("click", () => settingsDialog.open());
  byId("menu").addEventListener("click", () => showDrawer(!document.body.classList.contains("drawer")));
  byId("backdrop").addEventListener("click", () => showDrawer(false));
  for (const id of ["sessions", "machines", "ended-list"]) {
    byId(id).addEventListener("click", (event) => {
      const link = (event.target as Element).closest("a");
      if (link === null) return;
      if (link.ariaDisabled === "true") {
        // Its machine is away.
        event.preventDefault();
        return toast.show(`${link.title.split("\n")[0] ?? ""}.`);
      }
      if (focusedView() !== null) showDrawer(false);
      focusedView()?.focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    // The terminal passes on its own key events.
    const dialog = document.querySelector("dialog[open]");
    if (dialog === null && !(event.target as Element | null)?.closest(".frame")) shortcut(event, shortcuts, false);
    if (event.key === "Escape" && dialog === null && focusedView() !== null) showDrawer(false);
  });
  document.addEventListener("visibilitychange", markOpenSeen);
  document.addEventListener("visibilitychange", () => void returned());
  addEventListener("focus", () => void returned());
  followKeyboard();
  registerServiceWorker({ shows: (id) => panes.of(id) !== undefined, open: (id) => (location.hash = addressOf(id)) });
  connectScreenReaderButton();

  addEventListener("hashchange", () => void signInFromAddress(trouble).then(resolve).then(openAddress));
  await signInFromAddress(trouble);
  const principal = await identifyWithPatience();
  rights = rightsOf(principal);
  shared = sharedSession(principal);
  actions.labels = scopeLabels(principal);
  account.show(principal, rights);
  notifications.signedIn(principal.kind !== "share");
  await Promise.all([liveSessions.refresh(), rights.list ? fleet.refresh() : null]);
  remoteSessions.follow();
  // The last session and the panes of the last visit may be of another machine.
  await Promise.race([remoteSessions.ready, new Promise((resolve) => setTimeout(resolve, REMOTE_MS))]);
  // An address with an unknown name must not open the last session instead.
  const wasNamed = openName() !== null;
  liveSessions.listen();
  client = await clientId();
  list.me = client;
  await resolve();
  const isLinked = location.hash !== "" || wasNamed;
  const last = lastSession();
  if (location.hash === "" && !wasNamed && last !== null && liveSessions.get(last) !== undefined) replace(addressOf(last));
  // A share link shows its one session.
  if (rights.list) layout.restore(openId(), isLinked);
  openAddress();
  showFocused();
  if (focusedView() === null && !tokensPage.isOpen) showDrawer(true);
}

void main();
