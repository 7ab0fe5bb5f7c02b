//! The columns of `sessions`, each once, and how a row is read from and written to them. A text
//! that is none of the expected words makes its own row unreadable, and no other row.

use super::error::StoreError;
use super::once::Once;
use super::row::Row;
use crate::attention::Kept;
use crate::lifecycle::Ending;
use crate::protocol::{Attention, Session, Signs, rfc3339};
use crate::tree::ProcessId;
use chrono::{DateTime, Utc};
use rusqlite::types::{FromSql, ToSql, Type, ValueRef};
use rusqlite::{Params, params_from_iter};
use std::error::Error;
use std::str::FromStr;
use std::sync::LazyLock;

/// Every column of `sessions`. [`read_row`] and [`values`] take them in this order.
const COLUMNS: [&str; 43] = [
    "id",
    "name",
    "profile",
    "command",
    "cwd",
    "status",
    "active_connections",
    "created_at",
    "updated_at",
    "last_activity_at",
    "destroy_at",
    "ended_at",
    "end_reason",
    "exit_code",
    "exit_signal",
    "pid",
    "pid_start_time",
    "boot_id",
    "cols",
    "rows",
    "idle_timeout_s",
    "idle_timeout_before_s",
    "idle_when",
    "first_attach_timeout_s",
    "labels",
    "title",
    "output_offset",
    "size_policy",
    "restart",
    "restarts",
    "restart_at",
    "recording",
    "started_at",
    "ending_reason",
    "ending_since",
    "env",
    "restart_streak",
    "idempotency_key",
    "idempotency_of",
    "owner",
    "owner_token",
    "attention",
    "report",
];

/// The columns, as a SELECT names them.
pub(super) fn all() -> &'static str {
    static ALL: LazyLock<String> = LazyLock::new(|| COLUMNS.join(", "));
    &ALL
}

/// Adds or replaces a row. `created_at` of the old row is kept, and so is later activity than the
/// new row's.
pub(super) fn upsert() -> &'static str {
    static UPSERT: LazyLock<String> = LazyLock::new(|| {
        let replaced = COLUMNS.iter().filter(|column| !["id", "created_at"].contains(column));
        let replaced: Vec<String> = replaced
            .map(|column| match *column {
                "last_activity_at" => {
                    "last_activity_at = max(last_activity_at, excluded.last_activity_at)".to_owned()
                }
                column => format!("{column} = excluded.{column}"),
            })
            .collect();
        let values = vec!["?"; COLUMNS.len()];
        format!(
            "INSERT INTO sessions ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}",
            all(),
            values.join(", "),
            replaced.join(", ")
        )
    });
    &UPSERT
}

/// Reads one column after another.
struct Cursor<'a> {
    row: &'a rusqlite::Row<'a>,
    next: usize,
}

impl Cursor<'_> {
    fn column(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn plain<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.row.get(self.column())
    }

    fn word<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> rusqlite::Result<T> {
        word(self.row, self.column())
    }

    fn word_or_null<T>(&mut self) -> rusqlite::Result<Option<T>>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        word_or_null(self.row, self.column())
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        from_json(self.row, self.column())
    }

    fn json_or_null<T: serde::de::DeserializeOwned>(&mut self) -> rusqlite::Result<Option<T>> {
        let column = self.column();
        match self.row.get_ref(column)? {
            ValueRef::Null => Ok(None),
            _ => from_json(self.row, column).map(Some),
        }
    }

    fn natural(&mut self) -> rusqlite::Result<u64> {
        natural(self.row, self.column())
    }

    fn natural_or_null(&mut self) -> rusqlite::Result<Option<u64>> {
        natural_or_null(self.row, self.column())
    }
}

/// Reads a row that was selected with [`all`].
pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let mut next = Cursor { row, next: 0 };
    let id = next.word()?;
    let (name, profile, command, cwd) = (next.plain()?, next.plain()?, next.json()?, next.plain()?);
    let (status, active_connections) = (next.word()?, next.plain()?);
    let (created_at, updated_at, last_activity_at) = (next.word()?, next.word()?, next.word()?);
    let (destroy_at, ended_at, end_reason) =
        (next.word_or_null()?, next.word_or_null()?, next.word_or_null()?);
    let (exit_code, exit_signal) = (next.plain()?, next.plain()?);
    let (pid, start_time, boot_id) = (next.plain()?, next.natural_or_null()?, next.plain()?);
    let mut session = Session {
        id,
        name,
        profile,
        command,
        cwd,
        status,
        active_connections,
        created_at,
        updated_at,
        last_activity_at,
        destroy_at,
        ended_at,
        end_reason,
        exit_code,
        exit_signal,
        pid,
        cols: next.plain()?,
        rows: next.plain()?,
        idle_timeout_s: next.natural_or_null()?,
        idle_timeout_before_s: next.natural_or_null()?,
        idle_when: next.word()?,
        first_attach_timeout_s: next.natural_or_null()?,
        labels: next.json()?,
        title: next.plain()?,
        offset: next.natural()?,
        size_policy: next.word()?,
        restart: next.word()?,
        restarts: next.plain()?,
        restart_at: next.word_or_null()?,
        recording: next.word()?,
        started_at: next.word_or_null()?,
        // No column stores these.
        signs: Signs::default(),
        attention: Attention::unknown(created_at),
        clients: Vec::new(),
        owner: None,
        node: None,
        owner_token: None,
        ending: false,
    };
    let ending = next.word_or_null()?.zip(next.word_or_null()?);
    let ending = ending.map(|(reason, since)| Ending { reason, since });
    session.ending = ending.is_some() && session.status.is_live();
    let process = match (pid, start_time, boot_id) {
        (Some(pid), Some(start_time), Some(boot_id)) => {
            Some(ProcessId { pid, start_time, boot_id })
        }
        _ => None,
    };
    let (env, restart_streak) = (next.json()?, next.plain()?);
    let once = next.plain::<Option<String>>()?.zip(next.word_or_null()?);
    let once = once.map(|(key, of)| Once { key, of });
    (session.owner, session.owner_token) = (next.plain()?, next.word_or_null()?);
    if let Some(attention) = next.json_or_null()? {
        session.attention = attention;
    }
    let report = next.json_or_null()?.unwrap_or_default();
    Ok(Row { session, ending, process, env, restart_streak, once, report })
}

/// A row's values, as [`upsert`] takes them. `now` is its `updated_at`.
pub(super) fn values(row: &Row, now: DateTime<Utc>) -> Result<impl Params + '_, StoreError> {
    fn boxed<'a>(value: impl ToSql + 'a) -> Box<dyn ToSql + 'a> {
        Box::new(value)
    }
    let Row { session, ending, process, env, restart_streak, once, report } = row;
    let values: [Box<dyn ToSql + '_>; COLUMNS.len()] = [
        boxed(session.id.to_string()),
        boxed(&session.name),
        boxed(&session.profile),
        boxed(json(&session.command)?),
        boxed(&session.cwd),
        boxed(session.status.as_str()),
        boxed(session.active_connections),
        boxed(rfc3339(session.created_at)),
        boxed(rfc3339(now)),
        boxed(rfc3339(session.last_activity_at)),
        boxed(session.destroy_at.map(rfc3339)),
        boxed(session.ended_at.map(rfc3339)),
        boxed(session.end_reason.map(|reason| reason.as_str())),
        boxed(session.exit_code),
        boxed(session.exit_signal),
        boxed(process.as_ref().map(|process| process.pid).or(session.pid)),
        boxed(process.as_ref().map(|process| integer(process.start_time))),
        boxed(process.as_ref().map(|process| &process.boot_id)),
        boxed(session.cols),
        boxed(session.rows),
        boxed(session.idle_timeout_s.map(integer)),
        boxed(session.idle_timeout_before_s.map(integer)),
        boxed(session.idle_when.as_str()),
        boxed(session.first_attach_timeout_s.map(integer)),
        boxed(json(&session.labels)?),
        boxed(&session.title),
        boxed(integer(session.offset)),
        boxed(session.size_policy.as_str()),
        boxed(session.restart.as_str()),
        boxed(session.restarts),
        boxed(session.restart_at.map(rfc3339)),
        boxed(session.recording.as_str()),
        boxed(session.started_at.map(rfc3339)),
        boxed(ending.map(|ending| ending.reason.as_str())),
        boxed(ending.map(|ending| rfc3339(ending.since))),
        boxed(json(env)?),
        boxed(restart_streak),
        boxed(once.as_ref().map(|once| &once.key)),
        boxed(once.as_ref().map(|once| once.of.to_string())),
        boxed(&session.owner),
        boxed(session.owner_token.map(|token| token.to_string())),
        boxed(json(&session.attention)?),
        boxed((*report != Kept::default()).then(|| json(report)).transpose()?),
    ];
    Ok(params_from_iter(values))
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

/// SQLite's integers end at 2^63 − 1, and no plausible number of ours is larger.
pub(super) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
