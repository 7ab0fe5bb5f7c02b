//! What is written in one transaction: one function a statement.

use super::decode::{integer, json};
use super::error::StoreError;
use super::row::{NewTransition, Row};
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Status};
use crate::protocol::rfc3339;
use crate::screens::LastScreen;
use chrono::{DateTime, Utc};
use rusqlite::{ffi, params};

/// A transaction that is being written.
pub(super) struct Tx<'a>(pub(super) rusqlite::Transaction<'a>);

impl Tx<'_> {
    /// Adds or replaces a session's row. Activity seen later than the row's is kept.
    pub(super) fn put(&self, row: &Row, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT INTO sessions (id, name, profile, command, cwd, status, active_connections,
                 created_at, updated_at, last_activity_at, destroy_at, ended_at, end_reason,
                 exit_code, exit_signal, ending_reason, ending_since, pid, pid_start_time, boot_id,
                 cols, rows, idle_timeout_s, first_attach_timeout_s, labels, title, output_offset, size_policy,
                 env, restart, restarts, restart_at, recording, restart_streak, started_at,
                 idempotency_key, idempotency_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33,
                 ?34, ?35, ?36, ?37)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name,
                 profile = excluded.profile,
                 command = excluded.command,
                 cwd = excluded.cwd,
                 status = excluded.status,
                 active_connections = excluded.active_connections,
                 updated_at = excluded.updated_at,
                 last_activity_at = max(last_activity_at, excluded.last_activity_at),
                 destroy_at = excluded.destroy_at,
                 ended_at = excluded.ended_at,
                 end_reason = excluded.end_reason,
                 exit_code = excluded.exit_code,
                 exit_signal = excluded.exit_signal,
                 ending_reason = excluded.ending_reason,
                 ending_since = excluded.ending_since,
                 pid = excluded.pid,
                 pid_start_time = excluded.pid_start_time,
                 boot_id = excluded.boot_id,
                 cols = excluded.cols,
                 rows = excluded.rows,
                 idle_timeout_s = excluded.idle_timeout_s,
                 first_attach_timeout_s = excluded.first_attach_timeout_s,
                 labels = excluded.labels,
                 title = excluded.title,
                 output_offset = excluded.output_offset,
                 size_policy = excluded.size_policy,
                 env = excluded.env,
                 restart = excluded.restart,
                 restarts = excluded.restarts,
                 restart_at = excluded.restart_at,
                 recording = excluded.recording,
                 restart_streak = excluded.restart_streak,
                 started_at = excluded.started_at,
                 idempotency_key = excluded.idempotency_key,
                 idempotency_of = excluded.idempotency_of",
        )?;
        let Row { session, ending, process, env, restart_streak, once } = row;
        let written = statement.execute(params![
            session.id.to_string(),
            session.name,
            session.profile,
            json(&session.command)?,
            session.cwd,
            session.status.as_str(),
            session.active_connections,
            rfc3339(session.created_at),
            rfc3339(now),
            rfc3339(session.last_activity_at),
            session.destroy_at.map(rfc3339),
            session.ended_at.map(rfc3339),
            session.end_reason.map(|reason| reason.as_str()),
            session.exit_code,
            session.exit_signal,
            ending.map(|ending| ending.reason.as_str()),
            ending.map(|ending| rfc3339(ending.since)),
            process.as_ref().map(|process| process.pid).or(session.pid),
            process.as_ref().map(|process| integer(process.start_time)),
            process.as_ref().map(|process| &process.boot_id),
            session.cols,
            session.rows,
            session.idle_timeout_s.map(integer),
            session.first_attach_timeout_s.map(integer),
            json(&session.labels)?,
            session.title,
            integer(session.offset),
            session.size_policy.as_str(),
            json(env)?,
            session.restart.as_str(),
            session.restarts,
            session.restart_at.map(rfc3339),
            session.recording.as_str(),
            restart_streak,
            session.started_at.map(rfc3339),
            once.as_ref().map(|once| &once.key),
            once.as_ref().map(|once| once.of.to_string()),
        ]);
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(match (error.sqlite_error(), &session.name) {
                // Keys are unique too, but nobody writes one that is there.
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

    /// Adds or replaces what a session showed last.
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

    /// Makes readable, before [`Tx::put`], what that leaves as it is.
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

    /// Ends a session whose row cannot be read; what cannot be read stays as it is.
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

    /// Removes, with their history, at most so many of the sessions that ended before;
    /// how many.
    pub(super) fn expire(&self, before: DateTime<Utc>, most: u32) -> Result<usize, StoreError> {
        let mut statement = self.0.prepare_cached(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
             WHERE status IN ('TERMINATED', 'ERROR') \
             AND COALESCE(ended_at, updated_at) < ?1 LIMIT ?2)",
        )?;
        Ok(statement.execute((rfc3339(before), most))?)
    }

    /// Lets another session have this one's `Idempotency-Key`.
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
