//! How a database of an earlier version becomes one of this version.

use rusqlite::Connection;

/// Each version that is known besides the present one, and what makes the next one of it. Sessions that
/// are in it stay as they are.
const MIGRATIONS: [(i64, &str); 2] = [
    (
        6,
    "ALTER TABLE sessions ADD COLUMN idle_timeout_before_s INTEGER;
     ALTER TABLE sessions ADD COLUMN attention TEXT;
     ALTER TABLE sessions ADD COLUMN report TEXT;
     CREATE TABLE deliveries (seq INTEGER PRIMARY KEY, hook TEXT NOT NULL, session_id TEXT NOT NULL,
         word TEXT NOT NULL, event_id TEXT NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL)
         STRICT;
     CREATE TABLE followed_sessions (session_id TEXT NOT NULL PRIMARY KEY, since TEXT)
         STRICT, WITHOUT ROWID;
     CREATE TABLE push_subscriptions (id TEXT NOT NULL PRIMARY KEY, subject TEXT NOT NULL, login BLOB,
         endpoint TEXT NOT NULL UNIQUE, p256dh TEXT NOT NULL, auth TEXT NOT NULL,
         created_at TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    ),
    (
        7,
        "CREATE TABLE shares_elsewhere (id TEXT NOT NULL PRIMARY KEY, node TEXT NOT NULL,
         session_id TEXT NOT NULL, digest BLOB NOT NULL UNIQUE,
         mode TEXT NOT NULL CHECK (mode IN ('ro', 'rw')), created_at TEXT NOT NULL,
         created_by TEXT NOT NULL, created_by_token TEXT, expires_at TEXT) STRICT, WITHOUT ROWID;",
    ),
];

/// Whether a database of this version is one of the present version, or can become one.
pub(super) fn from(found: i64, present: i64) -> bool {
    found == present || MIGRATIONS.iter().any(|(version, _)| *version == found)
}

/// Makes one of the present version of it. To be called in a transaction.
pub(super) fn migrate(tx: &Connection, found: i64, present: i64) -> rusqlite::Result<()> {
    for (version, sql) in MIGRATIONS {
        if (found..present).contains(&version) {
            tx.execute_batch(sql)?;
        }
    }
    tx.pragma_update(None, "user_version", present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::version;

    #[test]
    fn every_version_leads_to_the_present_one() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, _)| *version).collect();
        let first = versions[0];
        assert_eq!(versions, (first..version()).collect::<Vec<_>>());
        assert!(!from(first - 1, version()) && !from(version() + 1, version()));
    }

    /// What each table has, as SQLite sees it.
    fn columns(conn: &Connection) -> Vec<String> {
        let mut statement = conn
            .prepare(
                "SELECT t.name || ' ' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk
                     || ' ' || ifnull(c.dflt_value, '') || ' ' || t.wr || ' ' || t.strict
                 FROM pragma_table_list t, pragma_table_info(t.name) c
                 WHERE t.name NOT LIKE 'sqlite_%' ORDER BY 1",
            )
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_database_of_an_earlier_version_becomes_one_of_the_present_version() {
        let with = |schema: &str| {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch(schema).unwrap();
            conn
        };
        let present = columns(&with(include_str!("../../schema.sql")));
        for (number, schema) in [
            (6, include_str!("../../tests/schemas/6.sql")),
            (7, include_str!("../../tests/schemas/7.sql")),
        ] {
            let conn = with(schema);
            assert_ne!(columns(&conn), present);
            migrate(&conn, number, version()).unwrap();
            assert_eq!(columns(&conn), present);
            let found: i64 =
                conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, version());
        }
    }
}
