// The dialog that changes a session: its name, its labels, its timeout and when that runs, its
// terminal size and its restart policy.

import { EditConflict, editIfUnchanged } from "./conditional-edit";
import { submitDialog } from "./dialog-form";
import { byId } from "./dom";
import { formatLabels, parseLabels } from "./labels";
import { authorized } from "./login";
import type { IdleWhen, Restart, Session, SizePolicy } from "./messages";
import { fillSelect, IDLE_WHENS, RESTARTS, SIZES } from "./select-options";
import { duration } from "./time";

/** The timeouts that the dialog offers, in seconds. */
const OFFERED = [300, 1800, 8 * 3600, 7 * 86_400];

const field = (id: string) => byId<HTMLInputElement>(`change-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`change-${id}`);

/** Shows the dialog and makes the changes. Returns the changed session; null if nothing was changed. */
export async function change(session: Session): Promise<Session | null> {
  show(session);
  // A copy: events change the session in the list, but not what the dialog shows.
  let shown = structuredClone(session);
  let changed: Session | null = null;
  const answer = submitDialog("change", async () => {
    const wanted = changedFields(shown);
    if (Object.keys(wanted).length === 0) return;
    try {
      changed = await authorized(() => editIfUnchanged(shown, wanted));
    } catch (error) {
      if (!(error instanceof EditConflict)) throw error;
      // The error names the other values, so saving once more may overwrite them.
      for (const one of error.fields) shown = { ...shown, [one]: error.now[one] };
      const now = error.fields.map((one) => fieldText(one, error.now));
      throw new Error(`${error.message} Now ${now.join(", and ")}. Save again to overwrite this.`);
    }
  });
  field("name").select();
  return (await answer) ? changed : null;
}

/** Fills the dialog with the session's values. */
function show(session: Session): void {
  const now = session.idle_timeout_s;
  const seconds = [...new Set(now === null ? OFFERED : [...OFFERED, now])].sort((a, b) => a - b);
  const after = seconds.map((one): [string, string] => [String(one), `after ${duration(one * 1000)}`]);
  fillSelect(choice("timeout"), [...after, ["", "never (keep it for good)"]], now === null ? "" : String(now));
  fillSelect(choice("when"), IDLE_WHENS, session.idle_when ?? "detached");
  byId("change-when-field").hidden = session.idle_when === undefined;
  fillSelect(choice("size"), SIZES, session.size_policy);
  fillSelect(choice("restart"), RESTARTS, session.restart ?? "never");
  byId("change-restart-field").hidden = session.restart === undefined;
  field("name").value = session.name ?? "";
  field("labels").value = formatLabels(session.labels);
}

/** The fields whose value differs from what was shown. Others are not sent: they may have changed elsewhere. */
function changedFields(shown: Session): Partial<Session> {
  const wanted: Partial<Session> = {};
  const name = field("name").value.trim() || null;
  if (name !== shown.name) wanted.name = name;
  const labels = parseLabels(field("labels").value);
  if (formatLabels(labels) !== formatLabels(shown.labels)) wanted.labels = labels;
  const timeout = choice("timeout").value;
  const idle_timeout_s = timeout === "" ? null : Number(timeout);
  if (idle_timeout_s !== shown.idle_timeout_s) wanted.idle_timeout_s = idle_timeout_s;
  const when = choice("when").value as IdleWhen;
  if (shown.idle_when !== undefined && when !== shown.idle_when) wanted.idle_when = when;
  const size = choice("size").value as SizePolicy;
  if (size !== shown.size_policy) wanted.size_policy = size;
  const restart = choice("restart").value as Restart;
  if (shown.restart !== undefined && restart !== shown.restart) wanted.restart = restart;
  return wanted;
}

/** The current value of one field in words. */
function fieldText(field: keyof Session, { name, labels, idle_timeout_s, idle_when, size_policy, restart }: Session): string {
  const optionText = (options: [string, string][], value: string) => options.find(([one]) => one === value)?.[1] ?? value;
  switch (field) {
    case "name":
      return name === null ? "it has no name" : `its name is “${name}”`;
    case "labels":
      return `its labels are “${formatLabels(labels)}”`;
    case "idle_timeout_s":
      return idle_timeout_s === null ? "it is kept for good" : `it ends when nobody has been attached for ${duration(idle_timeout_s * 1000)}`;
    case "idle_when":
      return `its time runs “${optionText(IDLE_WHENS, idle_when ?? "detached")}”`;
    case "size_policy":
      return `its terminal size is set to “${optionText(SIZES, size_policy)}”`;
    default:
      return `its restart policy is “${optionText(RESTARTS, restart ?? "never")}”`;
  }
}
