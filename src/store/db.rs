//! The database: opening it, its schema, one function a query.

use super::columns::{self, json, natural, read_row, word, word_or_null};
use super::error::{OpenError, StoreError};
use super::row::{Filter, InScope, Row, Unreadable};
use super::tx::Tx;
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::{Transition, rfc3339};
use crate::screens::LastScreen;
use chrono::{DateTime, Utc};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, TransactionBehavior, params,
};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// Makes the tables of a new database.
const SCHEMA: &str = include_str!("../../schema.sql");
/// The version of [`SCHEMA`], which the schema itself sets.
static VERSION: LazyLock<i64> = LazyLock::new(|| {
    let (_, rest) = SCHEMA.split_once("PRAGMA user_version = ").unwrap_or_default();
    rest.split(';').next().and_then(|number| number.parse().ok()).unwrap_or_default()
});

/// The version before, that of stayd 0.2.0, …
const MIGRATED: i64 = 6;
/// … and what makes the present one of it.
const MIGRATION: &str = "ALTER TABLE sessions ADD COLUMN idle_timeout_before_s INTEGER;";

/// The longest wait for another program's lock. It is no longer than a flush tick: the queue tries
/// its writes again then, and reads must not wait behind a waiting write.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// The same while the server starts, which it cannot do without the database.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The one connection to the database.
pub(super) struct Db(Connection);

/// The readable rows of a query, and errors for the others.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) read: Vec<Row>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl Db {
    /// Opens the database, or creates it, readable by its owner alone. A damaged one is moved aside
    /// to the path that is returned, and a new one is created.
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
        if ![0, MIGRATED, version()].contains(&found) {
            let (path, known) = (path.to_owned(), version());
            return Err(OpenError::OtherVersion { path, found, known });
        }
        if !is_ours(&conn, found).map_err(failed)? {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        let problem = check(&conn).map_err(failed)?;
        if problem != "ok" {
            return Err(OpenError::Damaged { path: path.to_owned(), problem });
        }
        configure(&conn).map_err(failed)?;
        create_tables(&mut conn).map_err(failed)?;
        conn.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Db(conn))
    }

    /// Runs `write` in one transaction, with the write lock taken first.
    pub(super) fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = Tx(self.0.transaction_with_behavior(TransactionBehavior::Immediate)?);
        let done = write(&tx)?;
        tx.0.commit()?;
        Ok(done)
    }

    /// Writes the present version again, to test whether writing is possible.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        self.transaction(|tx| Ok(tx.0.pragma_update(None, "user_version", version())?))
    }

    /// Sessions that have not ended, newest first.
    pub(super) fn load_live(&self) -> Result<Rows, StoreError> {
        let columns = columns::all();
        let sql = format!(
            "SELECT {columns} FROM sessions WHERE status IN ('RUNNING', 'ACTIVE', 'IDLE')
             ORDER BY id DESC"
        );
        self.rows(&sql, [])
    }

    pub(super) fn get(&self, id: SessionId) -> Result<Option<Row>, StoreError> {
        let columns = columns::all();
        let sql = format!("SELECT {columns} FROM sessions WHERE id = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        Ok(statement.query_row([id.to_string()], read_row).optional()?)
    }

    /// The session that a request with this `Idempotency-Key` created.
    pub(super) fn by_key(&self, key: &str) -> Result<Option<Row>, StoreError> {
        let columns = columns::all();
        let sql = format!("SELECT {columns} FROM sessions WHERE idempotency_key = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        Ok(statement.query_row([key], read_row).optional()?)
    }

    pub(super) fn list(&self, filter: &Filter) -> Result<Rows, StoreError> {
        let columns = columns::all();
        let sql = format!(
            "SELECT {columns} FROM sessions
             WHERE status IN (SELECT value FROM json_each(?1))
               AND (?2 IS NULL OR name = ?2)
               AND (?3 IS NULL OR EXISTS
                   (SELECT 1 FROM json_each(labels) WHERE key = ?3 AND value = ?4))
               AND (?5 IS NULL OR id < ?5)
               AND (?7 IS NULL OR id IN (SELECT value FROM json_each(?7)))
               AND (?8 IS NULL OR NOT EXISTS
                   (SELECT 1 FROM json_each(?8) AS wanted WHERE NOT EXISTS
                       (SELECT 1 FROM json_each(sessions.labels) AS has
                        WHERE has.key = wanted.key AND has.value = wanted.value)))
               AND (?9 IS NULL OR (owner = ?9 AND owner_token IS ?10))
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
        let InScope { ids, labels, owner } = &filter.scope;
        let ids = ids.as_ref().map(json).transpose()?;
        let labels = labels.as_ref().map(json).transpose()?;
        let owner_token = owner.as_ref().and_then(|(_, token)| token.map(|id| id.to_string()));
        let owner = owner.as_ref().map(|(name, _)| name);
        let (name, limit) = (&filter.name, filter.limit);
        let all =
            params![statuses, name, label, value, after, limit, ids, labels, owner, owner_token];
        self.rows(&sql, all)
    }

    /// Ended sessions that are to be started again.
    pub(super) fn load_restarting(&self) -> Result<Rows, StoreError> {
        let columns = columns::all();
        let sql = format!(
            "SELECT {columns} FROM sessions
             WHERE restart_at IS NOT NULL AND status IN ('TERMINATED', 'ERROR')"
        );
        self.rows(&sql, [])
    }

    /// Recorded sessions that ended before that time.
    pub(super) fn expired_recordings(
        &self,
        before: DateTime<Utc>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id FROM sessions WHERE status IN ('TERMINATED', 'ERROR')
             AND COALESCE(ended_at, updated_at) < ?1 AND recording <> 'off'",
        )?;
        let ids = statement.query_map([rfc3339(before)], |row| word(row, 0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The last screen of a session.
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
                // This is not an error of SQLite's: the row has a value that we cannot read. The
                // others may be fine.
                Err(error) if error.sqlite_error_code().is_none() => {
                    let (id, error) = (row.get(0)?, error.to_string());
                    rows.unreadable.push(Unreadable { id, error });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rows)
    }

    /// The connection, for the queries of other tables.
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

/// Makes the database private. SQLite gives its write-ahead log the permissions of the database, so
/// these have to be right before SQLite opens it.
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

/// Moves a damaged database out of the way, with its write-ahead log. Returns its new path.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".corrupt-{}", Utc::now().format("%Y%m%dT%H%M%S%.3fZ")));
    // The database goes last: a server that finds a half-moved one still finds it damaged.
    for suffix in ["-wal", "-shm", ""] {
        match std::fs::rename(with(path, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Whether a sound database is empty or has the tables of stayd.
fn is_ours(conn: &Connection, version: i64) -> rusqlite::Result<bool> {
    let count = "SELECT count(*), count(*) FILTER (WHERE name IN ('sessions', 'transitions'))
                 FROM sqlite_schema WHERE type = 'table'";
    let (all, known): (i64, i64) =
        conn.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version == 0 { all == 0 } else { known == 2 })
}

/// `ok`, or the first problem that a check of every page finds.
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

fn create_tables(conn: &mut Connection) -> rusqlite::Result<()> {
    if user_version(conn)? == version() {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another server may have created them while this one waited for the lock.
    match user_version(&tx)? {
        0 => tx.execute_batch(SCHEMA)?,
        MIGRATED => {
            tx.execute_batch(MIGRATION)?;
            tx.pragma_update(None, "user_version", version())?;
        }
        _ => {}
    }
    tx.commit()
}

/// The version of the schema that this server knows.
pub(super) fn version() -> i64 {
    *VERSION
}
