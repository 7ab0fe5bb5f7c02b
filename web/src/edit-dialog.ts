// The dialog that changes a session: its name, its labels, how long it lives, whose size it has
// and what happens when its command ends.

import { EditConflict, editIfUnchanged } from "./conditional-edit";
import { submitDialog } from "./dialog-form";
import { byId } from "./dom";
import { formatLabels, parseLabels } from "./labels";
import { authorized } from "./login";
import type { Restart, Session, SizePolicy } from "./messages";
import { fillSelect, RESTARTS, SIZES } from "./select-options";
import { duration } from "./time";

/** Seconds that are offered; null is never. */
const OFFERED = [300, 1800, 8 * 3600, 7 * 86_400];

const field = (id: string) => byId<HTMLInputElement>(`change-${id}`);
const choice = (id: string) => byId<HTMLSelectElement>(`change-${id}`);

/** Asks what to change and changes it; the session as it is then, null if nothing was changed. */
export async function change(session: Session): Promise<Session | null> {
  show(session);
  // What the list hears of it meanwhile is not what is shown here.
  let shown = structuredClone(session);
  let changed: Session | null = null;
  const answer = submitDialog("change", async () => {
    const wanted = changedFields(shown);
    if (Object.keys(wanted).length === 0) return;
    try {
      changed = await authorized(() => editIfUnchanged(shown, wanted));
    } catch (error) {
      if (!(error instanceof EditConflict)) throw error;
      // Whoever saves once more has seen what that overwrites.
      for (const one of error.fields) shown = { ...shown, [one]: error.now[one] };
      const now = error.fields.map((one) => fieldText(one, error.now));
      throw new Error(`${error.message} Now ${now.join(", and ")}. Save again to overwrite this.`);
    }
  });
  field("name").select();
  return (await answer) ? changed : null;
}

/** Fills the dialog. */
function show(session: Session): void {
  const now = session.idle_timeout_s;
  const seconds = [...new Set(now === null ? OFFERED : [...OFFERED, now])].sort((a, b) => a - b);
  const after = seconds.map((one): [string, string] => [String(one), `after ${duration(one * 1000)}`]);
  fillSelect(choice("timeout"), [...after, ["", "never (keep it for good)"]], now === null ? "" : String(now));
  fillSelect(choice("size"), SIZES, session.size_policy);
  fillSelect(choice("restart"), RESTARTS, session.restart ?? "never");
  byId("change-restart-field").hidden = session.restart === undefined;
  field("name").value = session.name ?? "";
  field("labels").value = formatLabels(session.labels);
}

/** What the dialog says otherwise than was shown: the rest may have been changed elsewhere. */
function changedFields(shown: Session): Partial<Session> {
  const wanted: Partial<Session> = {};
  const name = field("name").value.trim() || null;
  if (name !== shown.name) wanted.name = name;
  const labels = parseLabels(field("labels").value);
  if (formatLabels(labels) !== formatLabels(shown.labels)) wanted.labels = labels;
  const timeout = choice("timeout").value;
  const idle_timeout_s = timeout === "" ? null : Number(timeout);
  if (idle_timeout_s !== shown.idle_timeout_s) wanted.idle_timeout_s = idle_timeout_s;
  const size = choice("size").value as SizePolicy;
  if (size !== shown.size_policy) wanted.size_policy = size;
  const restart = choice("restart").value as Restart;
  if (shown.restart !== undefined && restart !== shown.restart) wanted.restart = restart;
  return wanted;
}

/** How one thing is now. */
function fieldText(field: keyof Session, { name, labels, idle_timeout_s, size_policy, restart }: Session): string {
  const optionText = (options: [string, string][], value: string) => options.find(([one]) => one === value)?.[1] ?? value;
  switch (field) {
    case "name":
      return name === null ? "it has no name" : `its name is “${name}”`;
    case "labels":
      return `its labels are “${formatLabels(labels)}”`;
    case "idle_timeout_s":
      return idle_timeout_s === null ? "it is kept for good" : `it ends when nobody has been attached for ${duration(idle_timeout_s * 1000)}`;
    case "size_policy":
      return `its terminal size is set to “${optionText(SIZES, size_policy)}”`;
    default:
      return `its restart policy is “${optionText(RESTARTS, restart ?? "never")}”`;
  }
}
