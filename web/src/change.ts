// The dialog that changes a session's name and how long it lives without anybody.

import { byId, make } from "./dom";
import type { Session } from "./messages";
import { agreed } from "./panel";
import { duration } from "./words";

/** Seconds that are offered; null is never. */
const OFFERED = [300, 1800, 8 * 3600, 7 * 86_400];

/** What is to be changed of a session. */
export interface Change {
  name: string | null;
  idle_timeout_s: number | null;
}

/** Asks what to change; null if nothing. */
export async function change(session: Session): Promise<Change | null> {
  const dialog = byId<HTMLDialogElement>("change");
  const name = byId<HTMLInputElement>("change-name");
  const timeout = byId<HTMLSelectElement>("change-timeout");
  name.value = session.name ?? "";
  const now = session.idle_timeout_s;
  const seconds = [...new Set(now === null ? OFFERED : [...OFFERED, now])].sort((a, b) => a - b);
  const options = seconds.map((one) => {
    const option = make("option", "", `after ${duration(one * 1000)}`);
    option.value = String(one);
    return option;
  });
  const never = make("option", "", "never: it is kept for good");
  never.value = "";
  timeout.replaceChildren(...options, never);
  timeout.value = now === null ? "" : String(now);
  // No button of the form's own: Enter would press the first of them.
  byId("change-no").onclick = () => dialog.close("");
  const answer = agreed(dialog);
  name.select();
  if (!(await answer)) return null;
  const wanted = name.value.trim();
  return {
    name: wanted === "" ? null : wanted,
    idle_timeout_s: timeout.value === "" ? null : Number(timeout.value),
  };
}
