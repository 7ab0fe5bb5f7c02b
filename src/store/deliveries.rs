//! What hooks still have to deliver, and how far they have followed each session, as rows.

use super::columns::word;
use super::error::StoreError;
use crate::id::SessionId;
use rusqlite::{Connection, params};

/// An event on its way to one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its place among all deliveries.
    pub seq: i64,
    /// The hook's key.
    pub hook: String,
    /// The session.
    pub session: SessionId,
    /// What the hook is told that it is about.
    pub word: String,
    /// The id of the event.
    pub event: String,
    /// The event's JSON.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A live session that hooks follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedRow {
    /// The session.
    pub session: SessionId,
    /// The `since` of the last state that hooks were told of, or deliberately not told of.
    pub since: Option<String>,
}

/// Everything that hooks have to go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryRows {
    /// In order.
    pub deliveries: Vec<DeliveryRow>,
    /// The sessions.
    pub followed: Vec<FollowedRow>,
}

/// One change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryChange {
    /// There is one more, or it was tried once more.
    Put(DeliveryRow),
    /// It has arrived, or is given up.
    Remove(i64),
    /// So far is this session followed.
    Follow(FollowedRow),
    /// It has ended.
    Unfollow(SessionId),
    /// There are no hooks.
    Clear,
}

impl DeliveryChange {
    /// Writes it in an open transaction.
    pub(super) fn write(&self, to: &Connection) -> Result<(), StoreError> {
        match self {
            DeliveryChange::Put(row) => to
                .prepare_cached(
                    "INSERT INTO deliveries (seq, hook, session_id, word, event_id, payload, attempts)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (seq) DO UPDATE SET attempts = excluded.attempts",
                )?
                .execute(params![
                    row.seq,
                    row.hook,
                    row.session.to_string(),
                    row.word,
                    row.event,
                    row.payload,
                    row.attempts
                ])?,
            DeliveryChange::Remove(seq) => {
                to.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq])?
            }
            DeliveryChange::Follow(FollowedRow { session, since }) => to
                .prepare_cached(
                    "INSERT OR REPLACE INTO followed_sessions (session_id, since) VALUES (?1, ?2)",
                )?
                .execute(params![session.to_string(), since])?,
            DeliveryChange::Unfollow(session) => to
                .prepare_cached("DELETE FROM followed_sessions WHERE session_id = ?1")?
                .execute([session.to_string()])?,
            DeliveryChange::Clear => {
                to.execute("DELETE FROM deliveries", [])?
                    + to.execute("DELETE FROM followed_sessions", [])?
            }
        };
        Ok(())
    }
}

/// All rows. One that cannot be read is an error: it was written by nobody who knows this table.
pub(super) fn load(from: &Connection) -> Result<DeliveryRows, StoreError> {
    let mut statement = from.prepare_cached(
        "SELECT seq, hook, session_id, word, event_id, payload, attempts FROM deliveries
         ORDER BY seq",
    )?;
    let deliveries = statement.query_map([], |row| {
        Ok(DeliveryRow {
            seq: row.get(0)?,
            hook: row.get(1)?,
            session: word(row, 2)?,
            word: row.get(3)?,
            event: row.get(4)?,
            payload: row.get(5)?,
            attempts: row.get(6)?,
        })
    })?;
    let deliveries = deliveries.collect::<Result<_, _>>()?;
    let mut statement = from.prepare_cached("SELECT session_id, since FROM followed_sessions")?;
    let followed = statement
        .query_map([], |row| Ok(FollowedRow { session: word(row, 0)?, since: row.get(1)? }))?;
    Ok(DeliveryRows { deliveries, followed: followed.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_order() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../schema.sql")).unwrap();
        let session = SessionId::generate();
        let row = |seq, attempts| DeliveryRow {
            seq,
            hook: "bell".into(),
            session,
            word: "done".into(),
            event: "e".into(),
            payload: "{}".into(),
            attempts,
        };
        let followed = FollowedRow { session, since: Some("2026".into()) };
        for change in [
            DeliveryChange::Put(row(3, 0)),
            DeliveryChange::Put(row(1, 0)),
            DeliveryChange::Put(row(2, 0)),
            DeliveryChange::Put(row(1, 4)),
            DeliveryChange::Remove(2),
            DeliveryChange::Follow(FollowedRow { session, since: None }),
            DeliveryChange::Follow(followed.clone()),
        ] {
            change.write(&conn).unwrap();
        }
        let rows =
            DeliveryRows { deliveries: vec![row(1, 4), row(3, 0)], followed: vec![followed] };
        assert_eq!(load(&conn), Ok(rows));
        DeliveryChange::Unfollow(session).write(&conn).unwrap();
        DeliveryChange::Clear.write(&conn).unwrap();
        assert_eq!(load(&conn), Ok(DeliveryRows::default()));
    }
}
