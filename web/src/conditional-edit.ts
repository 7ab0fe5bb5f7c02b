// Edits of a session that never overwrite a concurrent change unseen.

import { ApiError, changeSession, getSessionWithEtag } from "./api";
import type { Session } from "./messages";

/** Somebody else has changed the same fields. */
export class EditConflict extends Error {
  constructor(
    /** The session as it is now. */
    readonly now: Session,
    /** The fields that were changed on both sides. */
    readonly fields: (keyof Session)[],
  ) {
    super("Somebody else has changed this session in the meantime.");
  }
}

/** How often the session may change between read and write before the edit fails. */
const ATTEMPTS = 5;

/** Changes these fields, provided they still have the values that were shown. */
export async function editIfUnchanged(shown: Session, wanted: Partial<Session>): Promise<Session> {
  for (let attempt = 1; ; attempt++) {
    const { session, tag } = await getSessionWithEtag(shown.id);
    const fields = conflictingFields(shown, session, wanted);
    if (fields.length > 0) throw new EditConflict(session, fields);
    try {
      return await changeSession(shown.id, wanted, tag);
    } catch (error) {
      // Something of the session changed between the read and the write: read it again.
      const retry = error instanceof ApiError && error.code === "changed" && attempt < ATTEMPTS;
      if (!retry) throw error;
    }
  }
}

/** The wanted fields whose current value is neither the one that was shown nor the wanted one. */
export function conflictingFields(shown: Session, now: Session, wanted: Partial<Session>): (keyof Session)[] {
  const fields = Object.keys(wanted) as (keyof Session)[];
  return fields.filter((field) => !same(now[field], shown[field]) && !same(now[field], wanted[field]));
}

/** Compares as JSON. Labels come sorted, so equal labels have equal text. */
const same = (one: unknown, other: unknown) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
