//! The types that the store writes and reads.

use super::once::Once;
use crate::attention::Kept;
use crate::id::SessionId;
use crate::lifecycle::{Ending, Status};
use crate::protocol::{Cause, Session};
use crate::tree::ProcessId;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A session as the database keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The session as clients see it. The writer sets `updated_at`. All times are stored in
    /// milliseconds.
    pub session: Session,
    /// The reason and time of an end that was begun and is not completed.
    pub ending: Option<Ending>,
    /// The leader, once it was started. Its pid is also in `session`.
    pub process: Option<ProcessId>,
    /// The variables that the creator added to the environment.
    pub env: BTreeMap<String, String>,
    /// The number of restarts in the present series, in which no run lasted. See
    /// [`crate::lifecycle::again`].
    pub restart_streak: u32,
    /// The `Idempotency-Key` of the request that created it, if there was one.
    pub once: Option<Once>,
    /// The report by which it is known what the program does.
    pub report: Kept,
}

impl Row {
    /// A row with the session alone.
    #[must_use]
    pub fn of(session: Session) -> Self {
        Row {
            session,
            ending: None,
            process: None,
            env: BTreeMap::new(),
            restart_streak: 0,
            once: None,
            report: Kept::default(),
        }
    }
}

/// A row, and the transition that led to it, if one did. Both are written in one transaction
/// (NFR-004-002).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The session's new row.
    pub row: Row,
    /// The new entry of the session's history (REQ-004-008).
    pub transition: Option<NewTransition>,
}

/// A transition that has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransition {
    /// The time of the transition.
    pub at: DateTime<Utc>,
    /// The status before; `None` for the creation.
    pub from: Option<Status>,
    /// The new status.
    pub to: Status,
    /// The spelling of a [`crate::lifecycle::Reason`].
    pub reason: String,
    /// The number of clients attached after it.
    pub active_connections: u32,
    /// The principal who requested it; `None` if nobody did.
    pub cause: Option<Cause>,
}

/// Selects the sessions to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// These statuses only, whatever `ended` says.
    pub status: Option<Vec<Status>>,
    /// This name only.
    pub name: Option<String>,
    /// Sessions whose label has this value only.
    pub label: Option<(String, String)>,
    /// Whether ended sessions are included.
    pub ended: bool,
    /// The cursor: only sessions older than this one, which is the last of the page before.
    pub after: Option<SessionId>,
    /// The most sessions to return.
    pub limit: u32,
    /// The sessions that may be seen.
    pub scope: InScope,
}

/// The sessions that may be seen; all parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InScope {
    /// Only these.
    pub ids: Option<Vec<SessionId>>,
    /// Only those that have all of these labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Only those that this principal has created: its name, and which token it is.
    pub owner: Option<(String, Option<Uuid>)>,
}

/// Sessions that have not ended, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// The rows that could be read.
    pub rows: Vec<Row>,
    /// The rows that could not be read. They do not keep the others from being returned.
    pub unreadable: Vec<Unreadable>,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The id as the database has it.
    pub id: String,
    /// The error.
    pub error: String,
}
