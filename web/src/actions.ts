// What the user can do to sessions on the page. Each action asks where that is needed, calls the
// server, and reports a failure in the toast.

import { ApiError, changeSession, createSession, killSession, type NewSession, restartSession, typeInto } from "./api";
import { create, createProblem, requestLike } from "./create-dialog";
import { change } from "./edit-dialog";
import type { Fleet } from "./fleet";
import { commandOf, isPinned, nameOf } from "./format";
import { formatLabels, type Labels } from "./labels";
import type { LiveSessions } from "./live-sessions";
import { authorized } from "./login";
import type { Session } from "./messages";
import { confirmed, type Toast } from "./panel";

export interface ActionCallbacks {
  /** A session was started or restarted: the page opens it. */
  opened(session: Session): void;
  /** The action is over, done or not: the keyboard returns to the terminal. */
  done(): void;
  /** The record of an ended session was deleted. */
  removed(session: Session): void;
}

/** The server's default timeout, for a session that never had another than to be kept for good. */
const DEFAULT_TIMEOUT_S = 1800;

export class SessionActions {
  /** The labels that a new session must have: others would be out of the user's scope. */
  labels: Labels = {};
  private readonly buttons = document.querySelectorAll<HTMLButtonElement>(".new-session");

  constructor(
    private readonly liveSessions: LiveSessions,
    private readonly fleet: Fleet,
    private readonly toast: Toast,
    private readonly callbacks: ActionCallbacks,
  ) {}

  /** Starts a shell, or the session that is described, without asking. */
  async start(wanted: NewSession = { profile: "shell" }): Promise<void> {
    this.buttons.forEach((one) => (one.disabled = true));
    try {
      const labels = { ...wanted.labels, ...this.labels };
      const labelled = Object.keys(labels).length > 0 ? { ...wanted, labels } : wanted;
      this.open(await authorized(() => createSession(labelled)));
    } catch (error) {
      this.toast.show(`No session was started. ${createProblem(error)}`);
    } finally {
      this.buttons.forEach((one) => (one.disabled = false));
    }
  }

  /** Opens the dialog for a new session and starts what is entered. `elsewhere`: it is to ask for the machine first. */
  async startOther(elsewhere = false): Promise<void> {
    try {
      const session = await create(formatLabels(this.labels), this.fleet.state, elsewhere);
      if (session !== null) return this.open(session);
    } catch (error) {
      this.toast.show(`No session was started. ${reason(error)}`);
    }
    this.callbacks.done();
  }

  /** Starts another session with the same command and settings. */
  async startLike(session: Session): Promise<void> {
    await this.start(requestLike(session));
  }

  /** Types a line into a session; false, with the reason in the toast: that failed. */
  async answer(session: Session, line: string): Promise<boolean> {
    try {
      await authorized(() => typeInto(session.id, `${line}\r`));
      return true;
    } catch (error) {
      this.toast.show(`The answer did not reach ${nameOf(session)}: ${reason(error)}`);
      return false;
    }
  }

  /** Runs an ended session's command again, in the same session. */
  async restart(session: Session): Promise<void> {
    await this.attempt(`${nameOf(session)} was not restarted`, async () => this.open(await restartSession(session.id)));
  }

  /** Opens the dialog that changes a session. */
  async edit(session: Session): Promise<void> {
    const changed = await change(session);
    if (changed !== null) {
      this.toast.clear();
      this.liveSessions.put(changed);
    }
    this.callbacks.done();
  }

  /** Pins a session, or gives a pinned one its timeout back. */
  async pin(session: Session): Promise<void> {
    const idle_timeout_s = isPinned(session) ? (session.idle_timeout_before_s ?? DEFAULT_TIMEOUT_S) : null;
    await this.attempt(`${nameOf(session)} was not changed`, async () => {
      this.liveSessions.put(await changeSession(session.id, { idle_timeout_s }));
    });
  }

  /** Kills a session and everything in it, after a confirmation. */
  async end(session: Session): Promise<void> {
    const text = `This kills ${commandOf(session)} and everything else that runs in the session. It cannot be undone.`;
    if (await confirmed(`End ${nameOf(session)}?`, text, "End session")) {
      await this.attempt(`${nameOf(session)} was not ended`, async () => {
        await killSession(session.id);
        if (session.node !== undefined) this.liveSessions.drop(session.id);
      });
      void this.liveSessions.refresh();
    }
    this.callbacks.done();
  }

  /** Deletes an ended session's record and its last screen, after a confirmation. */
  async remove(session: Session): Promise<void> {
    const text = "This deletes its record, its history and its last screen. It cannot be undone.";
    if (!(await confirmed(`Remove ${nameOf(session)}?`, text, "Remove"))) return;
    await this.attempt(`${nameOf(session)} was not removed`, async () => {
      await killSession(session.id, true);
      this.callbacks.removed(session);
    });
  }

  private open(session: Session): void {
    this.toast.clear();
    this.liveSessions.put(session);
    this.callbacks.opened(session);
  }

  private async attempt(failure: string, act: () => Promise<void>): Promise<void> {
    try {
      await authorized(act);
      this.toast.clear();
    } catch (error) {
      this.toast.show(`${failure}: ${reason(error)}`);
    }
  }
}

export function reason(error: unknown): string {
  if (error instanceof ApiError && error.status === 404 && error.code === "not_found") return "the server has no such session.";
  return error instanceof Error ? error.message : String(error);
}
