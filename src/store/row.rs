//! The types that are written and read.

use super::once::Once;
use crate::id::SessionId;
use crate::lifecycle::{Ending, Status};
use crate::protocol::{Cause, Session};
use crate::tree::ProcessId;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// A session as the database keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The session as clients see it. `updated_at` is set when the row is written; all times are
    /// stored in milliseconds.
    pub session: Session,
    /// The reason of an end that was decided and is not completed.
    pub ending: Option<Ending>,
    /// The leader, once it was started. Its pid is in `session`.
    pub process: Option<ProcessId>,
    /// The variables that the creator added to the environment.
    pub env: BTreeMap<String, String>,
    /// The place of its last restart in a series of those that did not last, see
    /// [`crate::lifecycle::again`].
    pub restart_streak: u32,
    /// The `Idempotency-Key` of the request that made it, if that had one.
    pub once: Option<Once>,
}

impl Row {
    /// A row with nothing but the session.
    #[must_use]
    pub fn of(session: Session) -> Self {
        Row {
            session,
            ending: None,
            process: None,
            env: BTreeMap::new(),
            restart_streak: 0,
            once: None,
        }
    }
}

/// A row as it is now, and the transition that led to it, if one did: written in one transaction
/// (NFR-004-002).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Replaces the session's row.
    pub row: Row,
    /// Added to the session's history (REQ-004-008).
    pub transition: Option<NewTransition>,
}

/// A transition that has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransition {
    /// When.
    pub at: DateTime<Utc>,
    /// `None` for the creation.
    pub from: Option<Status>,
    /// The new status.
    pub to: Status,
    /// A [`crate::lifecycle::Reason`], as it is spelled.
    pub reason: String,
    /// Clients attached after it.
    pub active_connections: u32,
    /// The principal who asked for it; `None` where nobody did.
    pub cause: Option<Cause>,
}

/// Which sessions to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly these statuses, whatever `ended` says.
    pub status: Option<Vec<Status>>,
    /// Exactly this name.
    pub name: Option<String>,
    /// A label with exactly this value.
    pub label: Option<(String, String)>,
    /// Ended sessions too, not only live ones.
    pub ended: bool,
    /// The cursor: only sessions older than this one, the last of the page before.
    pub after: Option<SessionId>,
    /// At most so many.
    pub limit: u32,
}

/// Sessions that have not ended, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// As the database has them.
    pub rows: Vec<Row>,
    /// Rows that could not be read; the others are returned all the same.
    pub unreadable: Vec<Unreadable>,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// As it is written.
    pub id: String,
    /// The error.
    pub error: String,
}
