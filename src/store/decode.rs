//! From columns back to the shapes, and what of them is no column by itself. A text that is none of our words makes its own row
//! unreadable, and no other.

use super::error::StoreError;
use super::once::Once;
use super::row::Row;
use crate::lifecycle::Ending;
use crate::protocol::Session;
use crate::tree::ProcessId;
use rusqlite::types::{Type, ValueRef};
use std::error::Error;
use std::str::FromStr;

/// What [`read_row`] reads, in its order.
pub(super) const COLUMNS: &str = "id, name, profile, command, cwd, status, active_connections, created_at, \
     updated_at, last_activity_at, destroy_at, ended_at, end_reason, exit_code, exit_signal, \
     ending_reason, ending_since, pid, pid_start_time, boot_id, cols, rows, idle_timeout_s, \
     first_attach_timeout_s, labels, title, output_offset, size_policy, env, restart, \
     restarts, restart_at, recording, restart_streak, started_at, idempotency_key, idempotency_of";

/// In the order of [`COLUMNS`].
pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let mut session = Session {
        id: word(row, 0)?,
        name: row.get(1)?,
        profile: row.get(2)?,
        command: from_json(row, 3)?,
        cwd: row.get(4)?,
        status: word(row, 5)?,
        active_connections: row.get(6)?,
        created_at: word(row, 7)?,
        updated_at: word(row, 8)?,
        last_activity_at: word(row, 9)?,
        destroy_at: word_or_null(row, 10)?,
        ended_at: word_or_null(row, 11)?,
        end_reason: word_or_null(row, 12)?,
        exit_code: row.get(13)?,
        exit_signal: row.get(14)?,
        pid: row.get(17)?,
        cols: row.get(20)?,
        rows: row.get(21)?,
        idle_timeout_s: natural_or_null(row, 22)?,
        first_attach_timeout_s: natural_or_null(row, 23)?,
        labels: from_json(row, 24)?,
        title: row.get(25)?,
        offset: natural(row, 26)?,
        signs: Default::default(),
        size_policy: word(row, 27)?,
        restart: word(row, 29)?,
        restarts: row.get(30)?,
        restart_at: word_or_null(row, 31)?,
        recording: word(row, 32)?,
        started_at: word_or_null(row, 34)?,
        clients: Vec::new(),
        ending: false,
    };
    let ending = match (word_or_null(row, 15)?, word_or_null(row, 16)?) {
        (Some(reason), Some(since)) => Some(Ending { reason, since }),
        _ => None,
    };
    session.ending = ending.is_some() && session.status.is_live();
    let process = match (session.pid, natural_or_null(row, 18)?, row.get(19)?) {
        (Some(pid), Some(start_time), Some(boot_id)) => {
            Some(ProcessId { pid, start_time, boot_id })
        }
        _ => None,
    };
    let once = match (row.get(35)?, word_or_null(row, 36)?) {
        (Some(key), Some(of)) => Some(Once { key, of }),
        _ => None,
    };
    let (env, restart_streak) = (from_json(row, 28)?, row.get(33)?);
    Ok(Row { session, ending, process, env, restart_streak, once })
}

pub(super) fn word<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| unreadable(column, error))
}

pub(super) fn word_or_null<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(str::parse).transpose().map_err(|error| unreadable(column, error))
}

fn from_json<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

pub(super) fn natural(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, n))
}

fn natural_or_null(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => natural(row, column).map(Some),
    }
}

fn unreadable(column: usize, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}

/// SQLite's integers end at 2^63 − 1; so do all sensible ones of ours.
pub(super) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
