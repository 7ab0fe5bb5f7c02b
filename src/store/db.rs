//! All the SQL: open, migrate, one function a query.

use super::decode::{COLUMNS, natural, read_row, word, word_or_null};
use super::error::{OpenError, StoreError};
use super::row::{Filter, NewTransition, Row, Unreadable};
use super::upgrades::UPGRADES;
use crate::id::SessionId;
use crate::keeper::LastScreen;
use crate::lifecycle::{EndReason, Status};
use crate::protocol::{Transition, rfc3339};
use chrono::{DateTime, Utc};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, TransactionBehavior, ffi, params,
};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a new database is made of.
const SCHEMA: &str = include_str!("../../schema.sql");
/// The `user_version` of [`SCHEMA`].
pub(super) const VERSION: i64 = 1 + UPGRADES.len() as i64;

/// How long to wait for another program's lock. No longer than a flush tick: what waits
/// in the queue is tried again then, and reads must not wait behind a write that waits.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// The same while the server starts: it cannot do without.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The one connection to the database.
pub(super) struct Db(Connection);

/// Rows, and those that could not be read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) read: Vec<Row>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl Db {
    /// Opens the database, readable by its owner alone; makes or migrates it if need be.
    /// One that is damaged is kept aside, which is said, and a new one is made.
    pub(super) fn open(path: &Path) -> Result<(Db, Option<PathBuf>), OpenError> {
        match Db::open_sound(path) {
            Err(OpenError::Damaged { .. }) => {
                let aside = set_aside(path)
                    .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
                Ok((Db::open_sound(path)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    fn open_sound(path: &Path) -> Result<Db, OpenError> {
        make_private(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let failed = |source: rusqlite::Error| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    OpenError::Damaged { path, problem: source.to_string() }
                }
                _ => OpenError::Sqlite { path, source },
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        conn.busy_timeout(OPEN_TIMEOUT).map_err(failed)?;
        let found = user_version(&conn).map_err(failed)?;
        if found > VERSION {
            return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        if !is_ours(&conn, found).map_err(failed)? {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        let problem = check(&conn).map_err(failed)?;
        if problem != "ok" {
            return Err(OpenError::Damaged { path: path.to_owned(), problem });
        }
        configure(&conn).map_err(failed)?;
        migrate(&mut conn).map_err(failed)?;
        conn.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Db(conn))
    }

    /// Does all of it or nothing, with the write lock taken first.
    pub(super) fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = Tx(self.0.transaction_with_behavior(TransactionBehavior::Immediate)?);
        let done = write(&tx)?;
        tx.0.commit()?;
        Ok(done)
    }

    /// Writes something that changes nothing, to see whether that is possible.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        self.transaction(|tx| Ok(tx.0.pragma_update(None, "user_version", VERSION)?))
    }

    /// Sessions that had not ended, newest first.
    pub(super) fn load_live(&self) -> Result<Rows, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE status IN ('RUNNING', 'ACTIVE', 'IDLE')
             ORDER BY id DESC"
        );
        self.rows(&sql, [])
    }

    pub(super) fn get(&self, id: SessionId) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        Ok(statement.query_row([id.to_string()], read_row).optional()?)
    }

    /// The session that a request with this `Idempotency-Key` has made.
    pub(super) fn by_key(&self, key: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE idempotency_key = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        Ok(statement.query_row([key], read_row).optional()?)
    }

    pub(super) fn list(&self, filter: &Filter) -> Result<Rows, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions
             WHERE status IN (SELECT value FROM json_each(?1))
               AND (?2 IS NULL OR name = ?2)
               AND (?3 IS NULL OR EXISTS
                   (SELECT 1 FROM json_each(labels) WHERE key = ?3 AND value = ?4))
               AND (?5 IS NULL OR id < ?5)
             ORDER BY id DESC LIMIT ?6"
        );
        let statuses: Vec<Status> = match &filter.status {
            Some(statuses) => statuses.clone(),
            None => Status::ALL.into_iter().filter(|s| filter.ended || s.is_live()).collect(),
        };
        let (label, value) = match &filter.label {
            Some((label, value)) => (Some(label), Some(value)),
            None => (None, None),
        };
        let after = filter.after.map(|id| id.to_string());
        let statuses = json(&statuses)?;
        self.rows(&sql, params![statuses, filter.name, label, value, after, filter.limit])
    }

    /// Ended sessions that are to be started again.
    pub(super) fn load_restarting(&self) -> Result<Rows, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions
             WHERE restart_at IS NOT NULL AND status IN ('TERMINATED', 'ERROR')"
        );
        self.rows(&sql, [])
    }

    /// What a session showed last.
    pub(super) fn screen(&self, id: SessionId) -> Result<Option<LastScreen>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT at_offset, cols, rows, snapshot FROM screens WHERE session_id = ?1",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(LastScreen {
                offset: natural(row, 0)?,
                cols: row.get(1)?,
                rows: row.get(2)?,
                bytes: row.get(3)?,
            })
        };
        Ok(statement.query_row([id.to_string()], read).optional()?)
    }

    /// A session's history, oldest first.
    pub(super) fn transitions(&self, id: SessionId) -> Result<Vec<Transition>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT seq, session_id, at, from_status, to_status, reason, active_connections,
                 caused_by, address
             FROM transitions WHERE session_id = ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([id.to_string()], |row| {
            Ok(Transition {
                seq: row.get(0)?,
                session_id: word(row, 1)?,
                at: word(row, 2)?,
                from_status: word_or_null(row, 3)?,
                to_status: word(row, 4)?,
                reason: row.get(5)?,
                active_connections: row.get(6)?,
                caused_by: row.get(7)?,
                address: row.get(8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn rows(&self, sql: &str, params: impl Params) -> Result<Rows, StoreError> {
        let mut rows = Rows::default();
        let mut statement = self.0.prepare_cached(sql)?;
        let mut found = statement.query(params)?;
        while let Some(row) = found.next()? {
            match read_row(row) {
                Ok(row) => rows.read.push(row),
                // SQLite had no part in it: this row's words are wrong, others' are not.
                Err(error) if error.sqlite_error_code().is_none() => {
                    let (id, error) = (row.get(0)?, error.to_string());
                    rows.unreadable.push(Unreadable { id, error });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rows)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

/// A transaction that is being written.
pub(super) struct Tx<'a>(rusqlite::Transaction<'a>);

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

/// SQLite gives its write-ahead log the rights of the database, so these must be right
/// before it opens anything.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Moves a damaged database out of the way, with what belongs to it; whereto.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".corrupt-{}", Utc::now().format("%Y%m%dT%H%M%S%.3fZ")));
    // The database last: a server that dies in between finds it damaged again.
    for suffix in ["-wal", "-shm", ""] {
        match std::fs::rename(with(path, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Whether a sound database is empty or has the tables that we know.
fn is_ours(conn: &Connection, version: i64) -> rusqlite::Result<bool> {
    let count = "SELECT count(*), count(*) FILTER (WHERE name IN ('sessions', 'transitions'))
                 FROM sqlite_schema WHERE type = 'table'";
    let (all, known): (i64, i64) =
        conn.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version == 0 { all == 0 } else { known == 2 })
}

/// `ok`, or the first problem that a look at every page finds.
pub(super) fn check(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

fn user_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    // NORMAL: a commit survives the death of the process; only a crash of the machine
    // can take back the last ones, never tear one.
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "foreign_keys", true)
}

fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    if user_version(conn)? == VERSION {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match usize::try_from(user_version(&tx)?) {
        Ok(0) | Err(_) => tx.execute_batch(SCHEMA)?,
        Ok(version) => {
            UPGRADES.iter().skip(version - 1).try_for_each(|sql| tx.execute_batch(sql))?
        }
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}

/// SQLite's integers end at 2^63 − 1; so do all sensible ones of ours.
fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
