//! The audit log as rows.

use super::columns::word;
use super::error::StoreError;
use crate::protocol::rfc3339;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;

/// The most rows: some hundred MiB. The oldest go first.
const ROWS_MAX: i64 = 1_000_000;
/// Rows that are removed in one transaction, which takes some milliseconds. The bound is applied each
/// time that so many were added.
pub(super) const EXPIRED_AT_ONCE: usize = 5000;

/// What was done, refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The principal has no right to it.
    Refused,
    /// It did not succeed.
    Failed,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was written down.
    pub at: DateTime<Utc>,
    /// The principal's name; `None`: nobody known.
    pub principal: Option<String>,
    /// The client's address, or `local` on the unix socket.
    pub address: Option<String>,
    /// The action's name.
    pub action: String,
    /// The session that it was done to. It may be gone by now.
    pub session_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// More, for people; never a secret.
    pub detail: Option<String>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditRow {
    /// Grows by the entry; a number is not used again.
    pub seq: i64,
    /// As [`AuditEntry`]; the time as text.
    pub at: String,
    /// As [`AuditEntry`].
    pub principal: Option<String>,
    /// As [`AuditEntry`].
    pub address: Option<String>,
    /// As [`AuditEntry`].
    pub action: String,
    /// As [`AuditEntry`].
    pub session_id: Option<String>,
    /// As [`Outcome`].
    pub outcome: String,
    /// As [`AuditEntry`].
    pub detail: Option<String>,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Those after this one, oldest first; `None`: the last ones.
    pub after: Option<i64>,
    /// Only of this principal.
    pub principal: Option<String>,
    /// Only of this session.
    pub session: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

impl AuditEntry {
    /// Adds the row in an open transaction.
    pub(super) fn write(&self, to: &Connection) -> Result<(), StoreError> {
        let AuditEntry { at, principal, address, action, session_id, outcome, detail } = self;
        let outcome = outcome.as_str();
        to.prepare_cached(
            "INSERT INTO audit (at, principal, address, action, session_id, outcome, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            rfc3339(*at),
            principal,
            address,
            action,
            session_id,
            outcome,
            detail
        ])?;
        Ok(())
    }
}

/// The rows, oldest first.
pub(super) fn list(from: &Connection, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT seq, at, principal, address, action, session_id, outcome, detail FROM audit
         WHERE (?1 IS NULL OR seq > ?1) AND (?2 IS NULL OR principal = ?2)
           AND (?3 IS NULL OR session_id = ?3) AND (?4 IS NULL OR action = ?4)
         ORDER BY seq {order} LIMIT ?5"
    );
    let mut statement = from.prepare_cached(&sql)?;
    let AuditFilter { after, principal, session, action, limit } = filter;
    let rows = statement.query_map(params![after, principal, session, action, limit], |row| {
        let at: DateTime<Utc> = word(row, 1)?;
        Ok(AuditRow {
            seq: row.get(0)?,
            at: rfc3339(at),
            principal: row.get(2)?,
            address: row.get(3)?,
            action: row.get(4)?,
            session_id: row.get(5)?,
            outcome: row.get(6)?,
            detail: row.get(7)?,
        })
    })?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if filter.after.is_none() {
        rows.reverse();
    }
    Ok(rows)
}

/// Removes the oldest rows of those that are too many. They are found by their numbers alone, however
/// many rows there are.
pub(super) fn bound(from: &Connection) -> Result<(), StoreError> {
    from.prepare_cached(
        "DELETE FROM audit WHERE seq IN
             (SELECT seq FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - ?1
              ORDER BY seq LIMIT ?2)",
    )?
    // Some more than were added, so that there are fewer each time.
    .execute(params![ROWS_MAX, 2 * EXPIRED_AT_ONCE as i64])?;
    Ok(())
}

/// Removes rows that are older than that, or too many. Returns whether there may be more.
pub(super) fn expire(from: &Connection, before: DateTime<Utc>) -> Result<bool, StoreError> {
    let removed = from
        .prepare_cached(
            "DELETE FROM audit WHERE seq IN
                 (SELECT seq FROM audit WHERE at < ?1 OR seq <= (SELECT max(seq) FROM audit) - ?2
                  ORDER BY seq LIMIT ?3)",
        )?
        .execute(params![rfc3339(before), ROWS_MAX, EXPIRED_AT_ONCE as i64])?;
    Ok(removed == EXPIRED_AT_ONCE)
}
