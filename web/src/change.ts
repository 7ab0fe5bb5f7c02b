// The dialog that changes a session: its name, its labels, how long it lives and what happens
// when its command ends.

import { changeSession } from "./api";
import { byId } from "./dom";
import { filled } from "./form";
import { labelsOf, labelsText } from "./labels";
import { authorized } from "./login";
import type { Restart, Session } from "./messages";
import { offer, RESTARTS } from "./options";
import { duration } from "./time";

/** Seconds that are offered; null is never. */
const OFFERED = [300, 1800, 8 * 3600, 7 * 86_400];

const field = (id: string) => byId<HTMLInputElement>(`change-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`change-${id}`);

/** Asks what to change and changes it; the session as it is then, null if nothing was changed. */
export async function change(session: Session): Promise<Session | null> {
  const now = session.idle_timeout_s;
  const seconds = [...new Set(now === null ? OFFERED : [...OFFERED, now])].sort((a, b) => a - b);
  const after = seconds.map((one): [string, string] => [String(one), `after ${duration(one * 1000)}`]);
  const timeout = choice("timeout");
  offer(timeout, [...after, ["", "never: it is kept for good"]], now === null ? "" : String(now));
  const restart = choice("restart");
  offer(restart, RESTARTS, session.restart ?? "never");
  byId("change-restart-field").hidden = session.restart === undefined;
  field("name").value = session.name ?? "";
  field("labels").value = labelsText(session.labels);

  let changed: Session | null = null;
  const answer = filled("change", async () => {
    // Only what was changed here: the rest may have been changed elsewhere meanwhile.
    const wanted: Partial<Session> = {};
    const name = field("name").value.trim() || null;
    if (name !== session.name) wanted.name = name;
    const labels = labelsOf(field("labels").value);
    if (labelsText(labels) !== labelsText(session.labels)) wanted.labels = labels;
    const idle_timeout_s = timeout.value === "" ? null : Number(timeout.value);
    if (idle_timeout_s !== now) wanted.idle_timeout_s = idle_timeout_s;
    if (session.restart !== undefined && restart.value !== session.restart) wanted.restart = restart.value as Restart;
    if (Object.keys(wanted).length > 0) changed = await authorized(() => changeSession(session.id, wanted));
  });
  field("name").select();
  return (await answer) ? changed : null;
}
