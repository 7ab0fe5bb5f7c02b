//! What is written to the database is read again, whatever a client or a blob has put into it.

use super::db::Db;
use super::row::Row;
use crate::fuzz::target;
use crate::protocol::{Session, Signs, check_timeout, rfc3339};
use std::sync::{LazyLock, Mutex, PoisonError};
use tempfile::TempDir;

static DB: LazyLock<(TempDir, Mutex<Db>)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let (db, _) = Db::open(&dir.path().join("stayd.db")).expect("a database");
    (dir, Mutex::new(db))
});

target!(rows, |bytes: &[u8]| {
    let Ok(session) = serde_json::from_slice::<Session>(bytes) else { return };
    // What a session cannot have, since requests for it are refused.
    let timeouts = [session.idle_timeout_s, session.first_attach_timeout_s];
    let possible = timeouts.iter().all(|&timeout| check_timeout("timeout", timeout).is_ok());
    if !possible || i64::try_from(session.offset).is_err() {
        return;
    }
    let written = Row::of(session);
    let mut db = DB.1.lock().unwrap_or_else(PoisonError::into_inner);
    let (id, now) = (written.session.id, written.session.updated_at);
    db.transaction(|tx| {
        tx.0.execute("DELETE FROM sessions", [])?;
        tx.put(&written, now)
    })
    .expect("written");
    let read = db.get(id).expect("readable").expect("there");
    // No column stores these, and times have milliseconds.
    let kept = |session: Session| Session {
        signs: Signs::default(),
        clients: Vec::new(),
        ending: false,
        pid: None,
        ..session
    };
    let text = |session: Session| serde_json::to_string(&kept(session)).expect("text");
    assert_eq!(text(read.session), text(written.session), "{}", rfc3339(now));
});
