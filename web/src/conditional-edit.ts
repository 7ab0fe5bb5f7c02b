// Changes of a session that overwrite nothing which somebody else has changed meanwhile.

import { ApiError, changeSession, getSessionWithEtag } from "./api";
import type { Session } from "./messages";

/** Somebody else has changed the same. */
export class EditConflict extends Error {
  constructor(
    /** The session as it is now. */
    readonly now: Session,
    /** What of it was changed here and there. */
    readonly fields: (keyof Session)[],
  ) {
    super("Somebody else has changed this session in the meantime.");
  }
}

/** How often the session may change under our hands, before that is an error. */
const ATTEMPTS = 5;

/** Makes these changes, if what they change is still as it was shown. */
export async function editIfUnchanged(shown: Session, wanted: Partial<Session>): Promise<Session> {
  for (let attempt = 1; ; attempt++) {
    const { session, tag } = await getSessionWithEtag(shown.id);
    const fields = conflictingFields(shown, session, wanted);
    if (fields.length > 0) throw new EditConflict(session, fields);
    try {
      return await changeSession(shown.id, wanted, tag);
    } catch (error) {
      // Between the look and the change something of it has become another: look again.
      const retry = error instanceof ApiError && error.code === "changed" && attempt < ATTEMPTS;
      if (!retry) throw error;
    }
  }
}

/** What is wanted otherwise than it is, and is no longer as it was shown. */
export function conflictingFields(shown: Session, now: Session, wanted: Partial<Session>): (keyof Session)[] {
  const fields = Object.keys(wanted) as (keyof Session)[];
  return fields.filter((field) => !same(now[field], shown[field]) && !same(now[field], wanted[field]));
}

/** Labels come sorted, so the text tells. */
const same = (one: unknown, other: unknown) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
