//! The writes in a transaction: one function a statement.

use super::columns::{integer, upsert, values};
use super::error::StoreError;
use super::row::{NewTransition, Row};
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Status};
use crate::protocol::rfc3339;
use crate::screens::LastScreen;
use chrono::{DateTime, Utc};
use rusqlite::{ffi, params};

/// An open write transaction.
pub(super) struct Tx<'a>(pub(super) rusqlite::Transaction<'a>);

impl Tx<'_> {
    /// Adds or replaces a session's row. A later `last_activity_at` of the old row is kept.
    pub(super) fn put(&self, row: &Row, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(upsert())?;
        let written = statement.execute(values(row, now)?);
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(match (error.sqlite_error(), &row.session.name) {
                // Idempotency keys are unique too, but a key that exists is never written again.
                (Some(sqlite), Some(name))
                    if sqlite.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE
                        && error.to_string().contains("sessions.name") =>
                {
                    StoreError::NameTaken(name.clone())
                }
                _ => error.into(),
            }),
        }
    }

    /// Adds or replaces the last screen of a session.
    pub(super) fn put_screen(&self, id: SessionId, screen: &LastScreen) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT OR REPLACE INTO screens (session_id, at_offset, cols, rows, snapshot)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let LastScreen { offset, cols, rows, bytes } = screen;
        statement.execute(params![id.to_string(), integer(*offset), cols, rows, bytes])?;
        Ok(())
    }

    pub(super) fn add_transition(
        &self,
        id: SessionId,
        transition: &NewTransition,
    ) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT INTO transitions
                 (session_id, at, from_status, to_status, reason, active_connections,
                  caused_by, address)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        statement.execute(params![
            id.to_string(),
            rfc3339(transition.at),
            transition.from.map(Status::as_str),
            transition.to.as_str(),
            transition.reason,
            transition.active_connections,
            transition.cause.as_ref().map(|cause| &cause.token),
            transition.cause.as_ref().and_then(|cause| cause.address.as_ref()),
        ])?;
        Ok(())
    }

    /// Overwrites the columns that [`Tx::put`] keeps from the old row, so that an unreadable row
    /// becomes readable.
    pub(super) fn clear(&self, row: &Row) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "UPDATE sessions SET created_at = ?2, last_activity_at = ?3 WHERE id = ?1",
        )?;
        let session = &row.session;
        statement.execute(params![
            session.id.to_string(),
            rfc3339(session.created_at),
            rfc3339(session.last_activity_at)
        ])?;
        Ok(())
    }

    /// Records the end of a session whose row cannot be read. Its unreadable columns stay as they
    /// are.
    pub(super) fn end_unreadable(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (now, reason) = (rfc3339(now), EndReason::RestoreFailed.as_str());
        let status = Status::Error.as_str();
        self.0.execute(
            "INSERT INTO transitions
                 (session_id, at, from_status, to_status, reason, active_connections)
             SELECT id, ?2, status, ?3, ?4, 0 FROM sessions WHERE id = ?1",
            params![id, now, status, reason],
        )?;
        self.0.execute(
            "UPDATE sessions SET status = ?3, end_reason = ?4, ended_at = ?2, updated_at = ?2,
                 active_connections = 0, destroy_at = NULL WHERE id = ?1",
            params![id, now, status, reason],
        )?;
        Ok(())
    }

    pub(super) fn touch(
        &self,
        id: SessionId,
        activity: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "UPDATE sessions SET last_activity_at = ?2, updated_at = ?3 WHERE id = ?1",
        )?;
        statement.execute(params![id.to_string(), rfc3339(activity), rfc3339(now)])?;
        Ok(())
    }

    /// Removes at most `most` of the sessions that ended before that time, with their history.
    /// Returns how many.
    pub(super) fn expire(&self, before: DateTime<Utc>, most: u32) -> Result<usize, StoreError> {
        let mut statement = self.0.prepare_cached(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
             WHERE status IN ('TERMINATED', 'ERROR') \
             AND COALESCE(ended_at, updated_at) < ?1 LIMIT ?2)",
        )?;
        Ok(statement.execute((rfc3339(before), most))?)
    }

    /// Clears a session's `Idempotency-Key`, so that another session may have it.
    pub(super) fn release_key(&self, id: SessionId) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "UPDATE sessions SET idempotency_key = NULL, idempotency_of = NULL WHERE id = ?1",
        )?;
        statement.execute([id.to_string()])?;
        Ok(())
    }

    /// Removes a session with its history; false if there was none.
    pub(super) fn purge(&self, id: SessionId) -> Result<bool, StoreError> {
        let mut statement = self.0.prepare_cached("DELETE FROM sessions WHERE id = ?1")?;
        Ok(statement.execute([id.to_string()])? > 0)
    }
}
