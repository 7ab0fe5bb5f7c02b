// Opens sessions in panes and leaves them, and shows what they say wherever on the page it belongs.

import type { SessionActions } from "./actions";
import { saveRecording } from "./api";
import type { AttentionNotifier } from "./attention-notifier";
import type { CopyQuestion } from "./clipboard";
import type { ConnectionState } from "./connection";
import type { DepartureNotice } from "./departure";
import { byId, setText } from "./dom";
import type { EndedList } from "./ended-list";
import type { FindBar } from "./find-bar";
import type { Fleet } from "./fleet";
import { nameOf, type SessionEnd } from "./format";
import { InputBuffer } from "./input-buffer";
import type { KeyBar } from "./key-bar";
import type { LiveSessions } from "./live-sessions";
import type { Attached, Session } from "./messages";
import type { Panel, Toast } from "./panel";
import type { Pane, Panes } from "./panes";
import type { Rights } from "./rights";
import { rememberSession } from "./route";
import { SessionView, type SessionViewCallbacks } from "./session-view";
import type { StatusBar } from "./status-bar";
import { stoppedNotice } from "./stopped-notice";

/** The parts of the page that sessions speak through. */
export interface WorkspaceParts {
  panes: Panes;
  liveSessions: LiveSessions;
  fleet: Fleet;
  ended: EndedList;
  actions: SessionActions;
  attentionNotifier: AttentionNotifier;
  departure: DepartureNotice;
  status: StatusBar;
  panel: Panel;
  toast: Toast;
  find: FindBar;
  keyBar: KeyBar;
  copyQuestion: CopyQuestion;
}

export interface WorkspaceCallbacks {
  /** This tab's client id. */
  client(): string;
  rights(): Rights;
  attached(message: Attached): void;
  titleChanged(): void;
  /** False: the page handles this key, and the program does not get it. */
  key(event: KeyboardEvent): boolean;
  pasteRequested(): void;
  /** A session was opened in a pane. */
  opened(): void;
  /** Sessions have ended or changed. */
  changed(): void;
}

export class Workspace {
  /** Input of each session that is not accepted yet; it is kept while another session is open. */
  private readonly inputs = new Map<string, InputBuffer>();
  private readonly target = byId("link-target");

  constructor(
    private readonly parts: WorkspaceParts,
    private readonly callbacks: WorkspaceCallbacks,
  ) {}

  /** Opens a session in a pane. */
  open(pane: Pane, id: string, mode: "rw" | "ro"): void {
    const { liveSessions, ended, status, keyBar, departure } = this.parts;
    pane.session = liveSessions.get(id) ?? ended.get(id) ?? null;
    if (this.isFocused(pane)) {
      // The bars take their room before the terminal measures what is left.
      status.open();
      keyBar.show(mode === "rw" && pane.session?.ended_at == null);
    }
    pane.view = this.view(pane, id, mode);
    pane.show();
    departure.stay(id);
    this.callbacks.opened();
  }

  /** Leaves the session in a pane. */
  close(pane: Pane): void {
    const { view } = pane;
    if (view === null) return;
    const { attentionNotifier, find, copyQuestion, departure } = this.parts;
    attentionNotifier.markOpenSeen();
    if (this.isFocused(pane)) {
      find.clear();
      this.target.hidden = true;
    }
    copyQuestion.withdraw(view.id);
    if (!view.over) departure.leave(view.id);
    view.close();
    pane.clear();
  }

  /** The live sessions have changed: attaches again to one that was restarted, here or elsewhere. */
  update(): void {
    const { panes, liveSessions } = this.parts;
    for (const pane of panes.all) {
      const session = liveSessions.get(pane.view?.id ?? null);
      if (pane.view?.over && session !== undefined) {
        const { id, mode } = pane.view;
        this.close(pane);
        this.open(pane, id, mode);
      }
      pane.session = session ?? pane.session;
      pane.show();
    }
  }

  private isFocused(pane: Pane): boolean {
    return pane === this.parts.panes.focused;
  }

  private view(pane: Pane, id: string, mode: "rw" | "ro"): SessionView {
    const { liveSessions, panel, status, toast, copyQuestion, find, keyBar } = this.parts;
    const input = mode === "ro" ? new InputBuffer() : (this.inputs.get(id) ?? new InputBuffer());
    if (mode === "rw") this.inputs.set(id, input);
    const callbacks: SessionViewCallbacks = {
      attached: (message) => {
        pane.session = message.session;
        pane.notice = null;
        if (this.isFocused(pane)) {
          rememberSession(id);
          panel.clear();
        }
        this.callbacks.attached(message);
        liveSessions.put(message.session);
      },
      state: (state) => liveSessions.applyState(id, state),
      titleChanged: (text) => {
        pane.windowTitle = text;
        this.callbacks.titleChanged();
      },
      stopped: (connectionState, end, session) => this.stopped(pane, connectionState, end, session),
      facts: (facts) => {
        pane.facts = facts;
        if (this.isFocused(pane)) status.show(facts);
      },
      trouble: (text) => toast.show(text),
      key: (event) => this.callbacks.key(event),
      copyRequested: (text) => {
        const { length } = this.parts.panes.all;
        copyQuestion.ask(id, length > 1 && pane.session !== null ? `The program in ${nameOf(pane.session)}` : "The program", text);
      },
      linkHovered: (to) => {
        this.target.hidden = to === null;
        setText(this.target, to ?? "");
      },
      searchResults: (index, count) => this.isFocused(pane) && find.showResults(index, count),
      pasteRequested: () => this.callbacks.pasteRequested(),
      takeHeld: () => keyBar.take(),
    };
    const client = this.callbacks.client();
    return new SessionView({
      container: pane.place,
      id,
      client,
      mode,
      input,
      callbacks,
      known: pane.session,
      takesFocus: this.isFocused(pane),
      takesFiles: this.callbacks.rights().create,
      away: (problem) => this.parts.fleet.awayText(pane.session, problem),
      isNew: () => liveSessions.isNewElsewhere(id),
    });
  }

  /** Says why the session in a pane cannot be used, and offers what can be done. */
  private stopped(pane: Pane, connectionState: ConnectionState, end: SessionEnd | null, session: Session | null): void {
    const { actions, panel, keyBar, liveSessions } = this.parts;
    const rights = this.callbacks.rights();
    const known = session ?? pane.session;
    pane.session = known;
    const message = stoppedNotice(connectionState, end, known, {
      start: rights.create ? () => void actions.start() : null,
      restart: rights.control ? (one) => void actions.restart(one) : null,
      startLike: rights.create ? (one) => void actions.startLike(one) : null,
      remove: rights.purge ? (one) => void actions.remove(one) : null,
      save: (one) => saveRecording(one.id),
      attachHere() {
        pane.notice = null;
        panel.clear();
        void pane.view?.attachHere();
      },
    });
    pane.notice = message ?? pane.notice;
    if (message !== null && this.isFocused(pane)) panel.show(message);
    if (connectionState.is === "ended" || connectionState.is === "missing") {
      const id = pane.view?.id;
      if (this.isFocused(pane)) keyBar.show(false);
      if (id !== undefined) {
        this.inputs.delete(id);
        liveSessions.drop(id);
      }
    }
    this.callbacks.changed();
  }
}
