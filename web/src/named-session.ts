// An address with a session's name instead of its id: finds the session, or offers to start it.

import { reason, type SessionActions } from "./actions";
import { ApiError, getNamedSession } from "./api";
import { authorized } from "./login";
import { confirmed, type Toast } from "./panel";
import type { Rights } from "./rights";
import { addressOf, openName, replace } from "./route";

/** Replaces a session's name in the address by its id, or reports that no session has the name. */
export async function resolveName(actions: SessionActions, toast: Toast, rights: Rights): Promise<void> {
  const asked = openName();
  if (asked === null) return;
  const { machine, name, readOnly } = asked;
  const isStillAsked = () => openName()?.name === name && openName()?.machine === machine;
  try {
    const session = await authorized(() => getNamedSession(name, machine));
    // The user may have moved on in the meantime.
    if (isStillAsked()) replace(addressOf(session.id, readOnly));
  } catch (error) {
    if (!isStillAsked()) return;
    replace("");
    const unknown = error instanceof ApiError && error.status === 404 && error.code !== "unknown_node";
    if (!unknown) return toast.show(`Could not look up “${name}”: ${reason(error)}`);
    const missing = `No live session is called “${name}”${machine === null ? "" : ` on ${machine}`}.`;
    if (!rights.create || readOnly) return toast.show(missing);
    const agreed = confirmed(missing, "A shell can be started under this name.", "Start it", "primary");
    const node = machine === null ? {} : { node: machine };
    void agreed.then((yes) => (yes ? actions.start({ profile: "shell", name, ...node }) : undefined));
  }
}
