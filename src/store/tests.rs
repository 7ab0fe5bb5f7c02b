//! The store on real files, with real locks and a real lack of space.

use super::audit::EXPIRED_AT_ONCE;
use super::queue::AUDITS_MAX;
use super::*;
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Ending, Status};
use crate::protocol::{Mode, Recording, RestartPolicy, Session, SizePolicy};
use crate::tree::ProcessId;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use slog::{Discard, Logger, o};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A store in a directory of its own.
struct Place {
    dir: TempDir,
    store: StoreHandle,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).unwrap();
        Place { dir, store }
    }

    /// A connection as of another program that has the database open.
    fn other(&self) -> Connection {
        let conn = Connection::open(path(&self.dir)).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }

    fn locked(&self) -> Connection {
        let conn = self.other();
        conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
        conn
    }

    async fn pragma(&self, sql: &'static str) {
        let set =
            move |store: &mut Store| Ok(store.db().connection().query_row(sql, [], |_| Ok(()))?);
        self.store.ask(set).await.unwrap();
    }

    /// Counts rows as another program sees them.
    fn count(&self, sql: &str) -> i64 {
        self.other().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("stayd.db")
}

fn open(dir: &TempDir) -> Result<StoreHandle, OpenError> {
    StoreHandle::open(&path(dir), Logger::root(Discard, o!()))
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_123 + ms).unwrap()
}

fn row(name: Option<&str>) -> Row {
    let session = Session {
        name: name.map(str::to_owned),
        command: vec!["/bin/sh".to_owned()],
        ..Session::begun(SessionId::generate(), time(0))
    };
    Row::of(session)
}

/// A row with every column filled.
fn full_row() -> Row {
    let mut row = row(Some("build \"1\" – ü"));
    row.session = Session {
        profile: Some("shell".to_owned()),
        command: vec!["sh".to_owned(), "-c".to_owned(), "printf '\\n\"'".to_owned()],
        cwd: "/tmp/a dir".to_owned(),
        status: Status::Error,
        active_connections: 3,
        last_activity_at: time(1),
        destroy_at: Some(time(2)),
        ended_at: Some(time(3)),
        end_reason: Some(EndReason::Signaled),
        exit_code: Some(-1),
        exit_signal: Some(9),
        pid: Some(4711),
        cols: 1000,
        rows: 1,
        idle_timeout_s: Some(0),
        idle_timeout_before_s: Some(32),
        first_attach_timeout_s: Some(31),
        labels: [("team".to_owned(), "ops".to_owned()), ("a.b".to_owned(), String::new())].into(),
        title: Some("~".to_owned()),
        offset: 1 << 40,
        size_policy: SizePolicy::Fixed,
        restart: RestartPolicy::OnFailure,
        restarts: 3,
        restart_at: Some(time(6)),
        recording: Recording::All,
        owner: Some("anna".to_owned()),
        owner_token: Some(uuid::Uuid::now_v7()),
        ..row.session
    };
    row.ending = Some(Ending { reason: EndReason::Killed, since: time(4) });
    row.process = Some(ProcessId { pid: 4711, start_time: 99, boot_id: "e7a1".to_owned() });
    row.env = [("KEY".to_owned(), "value".to_owned())].into();
    row
}

/// `row` after a transition to a status, with this reason.
fn change(row: &Row, to: Status, reason: &str) -> Change {
    let mut row = row.clone();
    let from = Some(row.session.status);
    row.session.status = to;
    let reason = reason.to_owned();
    let transition =
        NewTransition { at: time(5), from, to, reason, active_connections: 0, cause: None };
    Change { row, transition: Some(transition) }
}

fn untold(row: &Row) -> Change {
    Change { row: row.clone(), transition: None }
}

async fn reasons(store: &StoreHandle, id: SessionId) -> Vec<String> {
    let transitions = store.transitions(id).await.unwrap();
    transitions.into_iter().map(|transition| transition.reason).collect()
}

/// Waits for something that the store does by itself.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn a_full_row_survives_the_store() {
    let place = Place::new();
    let row = full_row();
    let before = Utc::now() - TimeDelta::milliseconds(1);
    place.store.commit(untold(&row)).await.unwrap();
    drop(place.store);
    let store = open(&place.dir).unwrap();
    let mut read = store.get(row.session.id).await.unwrap().unwrap();
    assert!(read.session.updated_at >= before, "set when it was written");
    read.session.updated_at = row.session.updated_at;
    assert_eq!(read, row);
    assert_eq!(store.get(SessionId::generate()).await.unwrap(), None);
}

/// Times sort as text, for other tools that read the file.
#[actix::test]
async fn times_are_text_in_utc_with_milliseconds() {
    let place = Place::new();
    place.store.commit(untold(&full_row())).await.unwrap();
    let read = |column: &str| -> String {
        let sql = format!("SELECT {column} FROM sessions");
        place.other().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(read("created_at"), "2027-01-15T08:00:00.123Z");
    assert_eq!(read("destroy_at"), "2027-01-15T08:00:00.125Z");
    assert_eq!(read("updated_at").len(), 24);
    assert_eq!(read("group_concat(DISTINCT typeof(last_activity_at))"), "text");
}

/// REQ-004-001, REQ-004-008, NFR-004-002.
#[actix::test]
async fn a_row_and_its_transition_are_one_transaction() {
    let place = Place::new();
    let row = row(None);
    place.store.commit(change(&row, Status::Active, "attached")).await.unwrap();
    assert_eq!(place.store.stats().transactions, 1);
    let transitions = place.store.transitions(row.session.id).await.unwrap();
    let [transition] = &transitions[..] else { panic!("{transitions:?}") };
    assert_eq!(transition.session_id, row.session.id);
    assert_eq!(transition.from_status, Some(Status::Running));
    assert_eq!(transition.to_status, Status::Active);
    assert_eq!((transition.at, transition.reason.as_str()), (time(5), "attached"));

    // If one of them cannot be written, neither is the other.
    let failing = "CREATE TRIGGER full BEFORE INSERT ON transitions
                   BEGIN SELECT raise(ABORT, 'no transitions today'); END";
    place.other().execute_batch(failing).unwrap();
    let refused = place.store.commit(change(&row, Status::Idle, "detached")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let read = place.store.get(row.session.id).await.unwrap().unwrap();
    assert_eq!(read.session.status, Status::Active);
    assert_eq!(reasons(&place.store, row.session.id).await, ["attached"]);
}

#[actix::test]
async fn saves_and_commits_keep_their_order() {
    let place = Place::new();
    let row = row(None);
    let id = row.session.id;
    let mut expected = Vec::new();
    for n in 0..50 {
        for (status, how) in [(Status::Active, "saved"), (Status::Idle, "committed")] {
            let mut change = change(&row, status, &format!("{how} {n}"));
            change.row.session.offset = n;
            expected.push(format!("{how} {n}"));
            if how == "saved" {
                place.store.save(change);
            } else {
                place.store.commit(change).await.unwrap();
            }
        }
    }
    // A commit that nobody waits for any more is not overtaken either.
    let mut last = change(&row, Status::Active, "abandoned");
    last.row.session.offset = 100;
    let mut commit = Box::pin(place.store.commit(last));
    assert!(futures_util::FutureExt::now_or_never(&mut commit).is_none());
    let mut newest = change(&row, Status::Idle, "newest");
    newest.row.session.offset = 101;
    place.store.save(newest);
    drop(commit);
    expected.extend(["abandoned".to_owned(), "newest".to_owned()]);

    assert_eq!(reasons(&place.store, id).await, expected);
    let read = place.store.get(id).await.unwrap().unwrap();
    assert_eq!((read.session.status, read.session.offset), (Status::Idle, 101));
    let seqs = place.store.transitions(id).await.unwrap();
    assert!(seqs.windows(2).all(|pair| pair[0].seq < pair[1].seq));
}

#[actix::test]
async fn a_save_is_written_without_being_waited_for() {
    let place = Place::new();
    place.store.save(change(&row(None), Status::Running, "created"));
    let written = || place.count("SELECT count(*) FROM transitions") == 1;
    eventually("the transition is in the file", written).await;
}

/// NFR-004-003.
#[actix::test]
async fn ten_thousand_touches_are_few_transactions() {
    let place = Place::new();
    let rows: Vec<Row> = (0..10).map(|_| row(None)).collect();
    for row in &rows {
        place.store.commit(untold(row)).await.unwrap();
    }
    let before = place.store.stats().transactions;
    let began = Instant::now();
    for n in 0..1000 {
        for row in &rows {
            place.store.touch(row.session.id, time(1000 + n));
        }
    }
    place.store.flush().await.unwrap();
    let written = place.store.stats().transactions - before;
    let ticks = began.elapsed().as_millis() / 250 + 2;
    assert!(u128::from(written) <= ticks, "{written} transactions in {ticks} ticks");
    for row in &rows {
        let read = place.store.get(row.session.id).await.unwrap().unwrap();
        assert_eq!(read.session.last_activity_at, time(1999));
    }
    let idle = place.store.stats().transactions;
    place.store.flush().await.unwrap();
    assert_eq!(place.store.stats().transactions, idle, "nothing to write, nothing written");
}

#[actix::test]
async fn a_touch_is_written_by_the_tick() {
    let place = Place::new();
    let row = row(None);
    place.store.commit(untold(&row)).await.unwrap();
    place.store.touch(row.session.id, time(7));
    let sql = "SELECT count(*) FROM sessions WHERE last_activity_at LIKE '%.130Z'";
    eventually("the activity is in the file", || place.count(sql) == 1).await;
}

#[actix::test]
async fn a_row_does_not_take_back_activity_seen_later() {
    let place = Place::new();
    let row = row(None);
    let id = row.session.id;
    place.store.commit(untold(&row)).await.unwrap();
    place.store.touch(id, time(900));
    place.store.flush().await.unwrap();
    place.store.commit(untold(&row)).await.unwrap();
    let read = place.store.get(id).await.unwrap().unwrap();
    assert_eq!(read.session.last_activity_at, time(900));
}

#[actix::test]
async fn a_live_name_is_unique_and_free_after_the_end() {
    let place = Place::new();
    let (first, second) = (row(Some("build")), row(Some("build")));
    place.store.commit(untold(&first)).await.unwrap();
    let taken = Err(StoreError::NameTaken("build".to_owned()));
    assert_eq!(place.store.commit(untold(&second)).await, taken);
    assert_eq!(place.store.get(second.session.id).await.unwrap(), None);
    assert!(place.store.healthy(), "the database did what it should");

    place.store.save(change(&first, Status::Terminated, "exited"));
    place.store.commit(untold(&second)).await.unwrap();
    // Ended sessions may share a name, and sessions without a name are never in conflict.
    place.store.commit(change(&second, Status::Error, "exited")).await.unwrap();
    for _ in 0..2 {
        place.store.commit(untold(&row(None))).await.unwrap();
    }
}

#[actix::test]
async fn what_is_saved_while_locked_is_written_after() {
    let place = Place::new();
    let (one, two) = (row(None), row(None));
    place.store.commit(change(&one, Status::Running, "created")).await.unwrap();
    place.store.commit(change(&two, Status::Running, "created")).await.unwrap();

    let lock = place.locked();
    let mut expected = vec!["created".to_owned()];
    for n in 0..20 {
        for row in [&one, &two] {
            let mut change = change(row, Status::Active, &format!("{n}"));
            change.row.session.offset = n;
            place.store.save(change);
        }
        expected.push(format!("{n}"));
    }
    place.store.touch(one.session.id, time(77));
    eventually("unhealthy", || !place.store.healthy()).await;
    assert!(place.store.last_error().unwrap().contains("locked"));
    assert!(matches!(place.store.flush().await, Err(StoreError::Unavailable(_))));
    // Queue it behind everything else, over several ticks that fail.
    let queued = place.store.commit_or_queue(change(&one, Status::Terminated, "killed")).await;
    assert_eq!(queued, Ok(false));
    // Reads are served meanwhile.
    assert_eq!(reasons(&place.store, one.session.id).await, ["created"]);

    drop(lock);
    eventually("healthy again, by itself", || place.store.healthy()).await;
    assert_eq!(place.store.last_error(), None);
    assert_eq!(reasons(&place.store, two.session.id).await, expected);
    expected.push("killed".to_owned());
    assert_eq!(reasons(&place.store, one.session.id).await, expected);
    let read = place.store.get(one.session.id).await.unwrap().unwrap();
    assert_eq!(read.session.status, Status::Terminated);
    let read = place.store.get(two.session.id).await.unwrap().unwrap();
    assert_eq!(read.session.offset, 19, "the latest row");
    place.store.flush().await.unwrap();
    let read = place.store.get(one.session.id).await.unwrap().unwrap();
    assert_eq!(read.session.last_activity_at, time(77));
}

#[actix::test]
async fn a_commit_that_fails_is_not_written_later() {
    let place = Place::new();
    let row = row(Some("build"));
    let lock = place.locked();
    let failed = place.store.commit(change(&row, Status::Running, "created")).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert!(!place.store.healthy());
    drop(lock);
    eventually("healthy again, with nothing to write", || place.store.healthy()).await;
    place.store.flush().await.unwrap();
    assert_eq!(place.store.get(row.session.id).await.unwrap(), None);
    assert_eq!(place.count("SELECT count(*) FROM transitions"), 0);
    place.store.commit(change(&row, Status::Running, "created")).await.unwrap();
}

#[actix::test]
async fn a_full_disk_loses_nothing() {
    let place = Place::new();
    let row = row(None);
    place.store.commit(change(&row, Status::Running, "created")).await.unwrap();
    // The database may not grow by a page.
    place.pragma("PRAGMA max_page_count = 1").await;
    let long = "x".repeat(20_000);
    place.store.save(change(&row, Status::Active, &long));
    place.store.save(change(&row, Status::Idle, "detached"));
    eventually("unhealthy", || !place.store.healthy()).await;
    assert!(place.store.last_error().unwrap().contains("full"), "{:?}", place.store.last_error());
    let queued = place.store.commit_or_queue(change(&row, Status::Terminated, "killed")).await;
    assert_eq!(queued, Ok(false));
    assert_eq!(reasons(&place.store, row.session.id).await, ["created"]);

    place.pragma("PRAGMA max_page_count = 100000").await;
    eventually("healthy again", || place.store.healthy()).await;
    let expected = ["created", &long, "detached", "killed"];
    assert_eq!(reasons(&place.store, row.session.id).await, expected);
    assert_eq!(place.store.stats().rejected, 0);
}

#[actix::test]
async fn a_change_that_can_never_be_written_holds_up_no_other() {
    let place = Place::new();
    let (first, second, third) = (row(Some("a")), row(Some("a")), row(None));
    place.store.save(change(&first, Status::Running, "created"));
    place.store.save(change(&second, Status::Running, "created"));
    place.store.save(change(&third, Status::Running, "created"));
    place.store.flush().await.unwrap();
    assert_eq!(place.count("SELECT count(*) FROM sessions"), 2);
    assert_eq!(place.count("SELECT count(*) FROM transitions"), 2);
    assert_eq!(place.store.stats().rejected, 2, "a row and its transition");
    assert!(place.store.get(third.session.id).await.unwrap().is_some());
}

#[actix::test]
async fn live_sessions_are_loaded_and_unreadable_ones_passed_over() {
    let place = Place::new();
    let rows: Vec<Row> = (0..3).map(|_| row(None)).collect();
    for row in &rows {
        place.store.commit(untold(row)).await.unwrap();
    }
    place.store.save(change(&rows[0], Status::Terminated, "exited"));
    let ids = |rows: Vec<Row>| rows.iter().map(|row| row.session.id).collect::<Vec<_>>();
    let live = ids(place.store.load_live().await.unwrap().rows);
    assert_eq!(live, [rows[2].session.id, rows[1].session.id]);

    let spoil = "UPDATE sessions SET created_at = 'yesterday' WHERE id = ?1";
    place.other().execute(spoil, [rows[1].session.id.to_string()]).unwrap();
    let live = place.store.load_live().await.unwrap();
    assert_eq!(live.unreadable[0].id, rows[1].session.id.to_string());
    assert!(live.unreadable[0].error.contains("index: 7"), "{:?}", live.unreadable);
    assert_eq!(ids(live.rows), [rows[2].session.id]);
    let one = place.store.get(rows[1].session.id).await;
    assert!(matches!(one, Err(StoreError::Refused(_))), "{one:?}");
}

#[actix::test]
async fn an_unreadable_row_is_written_over_or_ended() {
    let place = Place::new();
    let (over, ended) = (row(None), row(Some("taken")));
    for row in [&over, &ended] {
        place.store.commit(change(row, Status::Running, "created")).await.unwrap();
    }
    let spoil = "UPDATE sessions SET created_at = 'x', last_activity_at = 'x', labels = '?'";
    place.other().execute_batch(spoil).unwrap();
    place.store.overwrite(untold(&over)).await.unwrap();
    let again = place.store.get(over.session.id).await.unwrap().unwrap();
    assert_eq!(again.session.created_at, over.session.created_at);
    assert_eq!(reasons(&place.store, over.session.id).await, ["created"], "its history stays");

    place.store.end_unreadable(ended.session.id.to_string()).await.unwrap();
    assert_eq!(reasons(&place.store, ended.session.id).await, ["created", "restore_failed"]);
    assert!(place.store.load_live().await.unwrap().unreadable.is_empty());
    place.store.commit(untold(&row(Some("taken")))).await.unwrap();
}

#[actix::test]
async fn lists_are_filtered_and_paged() {
    let place = Place::new();
    let mut rows: Vec<Row> = (0..6).map(|n| row(Some(&format!("s{n}")))).collect();
    rows[1].session.labels = [("team".to_owned(), "ops".to_owned())].into();
    rows[2].session.labels = [("team".to_owned(), "dev".to_owned())].into();
    rows[3].session.status = Status::Idle;
    rows[4].session.status = Status::Terminated;
    rows[5].session.status = Status::Error;
    for row in &rows {
        place.store.commit(untold(row)).await.unwrap();
    }
    let all = Filter { limit: 100, ..Filter::default() };
    let cases = [
        (all.clone(), vec![3, 2, 1, 0]),
        (Filter { ended: true, ..all.clone() }, vec![5, 4, 3, 2, 1, 0]),
        (Filter { status: Some(vec![Status::Idle, Status::Error]), ..all.clone() }, vec![5, 3]),
        (Filter { status: Some(vec![]), ..all.clone() }, vec![]),
        (Filter { name: Some("s2".to_owned()), ..all.clone() }, vec![2]),
        (Filter { name: Some("s4".to_owned()), ..all.clone() }, vec![]),
        (Filter { label: Some(("team".to_owned(), "ops".to_owned())), ..all.clone() }, vec![1]),
        (Filter { label: Some(("team".to_owned(), "%".to_owned())), ..all.clone() }, vec![]),
        (Filter { limit: 3, ended: true, ..all.clone() }, vec![5, 4, 3]),
        (Filter { after: Some(rows[3].session.id), ..all.clone() }, vec![2, 1, 0]),
        (Filter { after: Some(rows[3].session.id), limit: 2, ..all }, vec![2, 1]),
    ];
    for (filter, expected) in cases {
        let listed = place.store.list(filter.clone()).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(|n: usize| rows[n].session.id).collect();
        let listed: Vec<_> = listed.iter().map(|row| row.session.id).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

#[actix::test]
async fn what_ended_long_ago_expires_with_its_history() {
    let place = Place::new();
    let mut rows = Vec::new();
    // More sessions than are removed at once.
    for n in 0..1203 {
        let mut ended = row(None);
        ended.session.status = Status::Terminated;
        ended.session.ended_at = Some(time(n));
        rows.push(ended);
    }
    for ended in &rows {
        place.store.save(change(ended, Status::Terminated, "exited"));
    }
    let live = row(Some("live"));
    place.store.save(change(&live, Status::Running, "created"));
    place.store.flush().await.unwrap();
    assert_eq!(place.store.expire(time(1200)).await, Ok(1200));
    assert_eq!(place.store.expire(time(1200)).await, Ok(0));
    assert_eq!(place.count("SELECT COUNT(*) FROM sessions"), 4);
    assert_eq!(place.count("SELECT COUNT(*) FROM transitions"), 4);
    assert!(place.store.get(live.session.id).await.unwrap().is_some());
}

#[actix::test]
async fn a_purge_takes_the_history_along() {
    let place = Place::new();
    let (gone, kept) = (row(None), row(None));
    for row in [&gone, &kept] {
        place.store.save(change(row, Status::Running, "created"));
    }
    place.store.touch(gone.session.id, time(1));
    assert_eq!(place.store.purge(gone.session.id).await, Ok(true));
    assert_eq!(place.store.purge(gone.session.id).await, Ok(false));
    assert_eq!(place.store.get(gone.session.id).await.unwrap(), None);
    assert!(place.store.transitions(gone.session.id).await.unwrap().is_empty());
    let last = place.store.transitions(kept.session.id).await.unwrap()[0].seq;
    assert_eq!(place.store.purge(kept.session.id).await, Ok(true));

    let next = row(None);
    place.store.commit(change(&next, Status::Running, "created")).await.unwrap();
    let next = place.store.transitions(next.session.id).await.unwrap()[0].seq;
    assert!(next > last, "no number is used twice");
}

#[actix::test]
async fn only_its_owner_can_read_the_database() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path(&dir), "").unwrap();
    std::fs::set_permissions(path(&dir), std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&dir).unwrap();
    store.commit(untold(&row(None))).await.unwrap();
    for file in ["stayd.db", "stayd.db-wal", "stayd.db-shm"] {
        let mode = dir.path().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[actix::test]
async fn the_schema_is_made_once_and_kept() {
    let place = Place::new();
    let conn = place.other();
    let pragma = |name: &str| -> String {
        conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .unwrap()
    };
    assert_eq!(pragma("user_version"), format!("Integer({})", db::version()));
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    place.store.commit(untold(&row(None))).await.unwrap();
    let again = open(&place.dir).unwrap();
    assert_eq!(again.load_live().await.unwrap().rows.len(), 1);
}

#[actix::test]
async fn a_database_of_another_version_is_refused_and_left_alone() {
    for version in [1, 99] {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(path(&dir)).unwrap();
        let theirs = format!("CREATE TABLE sessions (x); PRAGMA user_version = {version}");
        conn.execute_batch(&theirs).unwrap();
        let before = std::fs::read(path(&dir)).unwrap();
        let Err(error @ OpenError::OtherVersion { .. }) = open(&dir) else { panic!("opened") };
        let told =
            format!("has version {version}; this stayd knows only version {}", db::version());
        assert!(error.to_string().contains(&told), "{error}");
        assert_eq!(std::fs::read(path(&dir)).unwrap(), before);
    }
}

/// The database is one that stayd 0.2.0 has left. Its sessions stay.
#[actix::test]
async fn a_database_of_an_earlier_version_is_migrated_with_what_is_in_it() {
    let (dir, fresh) = (tempfile::tempdir().unwrap(), Place::new());
    let old = Connection::open(path(&dir)).unwrap();
    old.execute_batch(include_str!("../../tests/schemas/6.sql")).unwrap();
    let kept = row(None);
    fresh.store.commit(untold(&kept)).await.unwrap();
    // The columns that both have.
    let columns: String = {
        let sql = "SELECT group_concat(name, ', ') FROM pragma_table_info('sessions')";
        old.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    old.execute("ATTACH ?1 AS fresh", [path(&fresh.dir).to_str().unwrap()]).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO sessions ({columns}) SELECT {columns} FROM fresh.sessions; DETACH fresh"
    ))
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let again = open(&dir).unwrap();
        let rows = again.load_live().await.unwrap().rows;
        assert_eq!(rows.len(), 1);
        let session = &rows[0].session;
        assert_eq!((session.id, session.idle_timeout_before_s), (kept.session.id, None));
        assert_eq!(session.attention.state, crate::protocol::AttentionState::Unknown);
    }
    let migrated = Connection::open(path(&dir)).unwrap();
    let version = |conn: &Connection| -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(version(&migrated), db::version());
}

#[actix::test]
async fn another_programs_database_is_refused_and_left_alone() {
    for version in [0, db::version()] {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(path(&dir)).unwrap();
        let theirs = format!("CREATE TABLE theirs (x); PRAGMA user_version = {version}");
        conn.execute_batch(&theirs).unwrap();
        let before = std::fs::read(path(&dir)).unwrap();
        let Err(error) = open(&dir) else { panic!("opened") };
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(path(&dir)).unwrap(), before);
    }
    let missing = tempfile::tempdir().unwrap().path().join("no/such/dir/stayd.db");
    let Err(error) = StoreHandle::open(&missing, Logger::root(Discard, o!())) else {
        panic!("opened")
    };
    assert!(error.to_string().contains("no/such/dir"), "{error}");
}

#[actix::test]
async fn what_is_damaged_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path(&dir), "no database. ".repeat(1000)).unwrap();
    let store = open(&dir).unwrap();
    let aside = store.set_aside().expect("kept").to_owned();
    assert!(std::fs::read_to_string(aside).unwrap().starts_with("no database"));
    store.commit(untold(&row(None))).await.unwrap();
    store.flush().await.unwrap();
    let again = open(&dir).unwrap();
    assert_eq!(again.set_aside(), None, "the new one is sound");
    assert_eq!(again.load_live().await.unwrap().rows.len(), 1);
}

#[actix::test]
async fn transitions_that_wait_are_bounded_and_the_last_are_kept() {
    let place = Place::new();
    let row = row(None);
    place.store.commit(change(&row, Status::Running, "created")).await.unwrap();
    let lock = place.locked();
    let many = actor::TRANSITIONS_MAX as u64 + 10;
    for n in 0..many {
        place.store.save(change(&row, Status::Idle, &n.to_string()));
    }
    eventually("it gives up the oldest", || place.store.stats().dropped == 10).await;
    drop(lock);
    place.store.flush().await.unwrap();
    let kept = reasons(&place.store, row.session.id).await;
    assert_eq!(kept.len(), actor::TRANSITIONS_MAX + 1);
    assert_eq!((kept[1].as_str(), kept.last().unwrap()), ("10", &(many - 1).to_string()));
}

#[actix::test]
async fn a_locked_database_is_a_clear_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let conn = Connection::open(path(&dir)).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let Err(error @ OpenError::Sqlite { .. }) = open(&dir) else { panic!("opened") };
    assert!(error.to_string().contains("locked"), "{error}");
}

/// The system stops without a flush while saves are in flight: the messages are dropped, the queue
/// is not.
#[test]
fn stopping_without_a_flush_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let store = open(&dir).unwrap();
        for _ in 0..100 {
            store.save(change(&row(None), Status::Running, "created"));
        }
        actix::System::current().stop();
    });
    let conn = Connection::open(path(&dir)).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let sql = "SELECT count(*) FROM transitions";
        let written: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
        if written == 100 {
            return;
        }
        assert!(Instant::now() < deadline, "{written} of 100");
        std::thread::yield_now();
    }
}

#[test]
fn a_store_that_stopped_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = actix::System::new().block_on(async { open(&dir).unwrap() });
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.healthy() {
        assert!(Instant::now() < deadline, "it is told when its system is gone");
        std::thread::yield_now();
    }
    assert_eq!(store.last_error().as_deref(), Some("the store has stopped"));
    let (committed, flushed) = actix::System::new()
        .block_on(async { (store.commit(untold(&row(None))).await, store.flush().await) });
    assert_eq!(committed, Err(StoreError::Stopped));
    assert_eq!(flushed, Err(StoreError::Stopped));
}

#[actix::test]
async fn a_writer_that_dies_leaves_nobody_waiting() {
    let place = Place::new();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let store = place.store.clone();
    let death = actix::spawn(async move {
        let question = move |_: &mut Store| {
            started.send(()).unwrap();
            told.recv().unwrap();
            panic!("the disk caught fire")
        };
        store.ask::<()>(question).await
    });
    has_started.await.unwrap();
    let mut commit = Box::pin(place.store.commit(untold(&row(None))));
    assert!(futures_util::FutureExt::now_or_never(&mut commit).is_none(), "it waits its turn");
    go_on.send(()).unwrap();
    let both = async { (death.await.unwrap(), commit.await) };
    let both = tokio::time::timeout(Duration::from_secs(20), both).await;
    assert_eq!(both, Ok((Err(StoreError::Stopped), Err(StoreError::Stopped))));
    assert!(!place.store.healthy());
}

#[actix::test]
async fn entries_of_the_audit_log_that_find_no_room_are_counted() {
    let place = Place::new();
    let entry = |n: usize| AuditEntry {
        at: time(0),
        principal: None,
        address: None,
        action: n.to_string(),
        session_id: None,
        outcome: Outcome::Done,
        detail: None,
    };
    // The writer is kept busy meanwhile.
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let store = place.store.clone();
    let busy = actix::spawn(async move {
        let question = move |_: &mut Store| {
            started.send(()).unwrap();
            told.recv().unwrap();
            Ok(())
        };
        store.ask(question).await
    });
    has_started.await.unwrap();
    for n in 0..AUDITS_MAX + 3 {
        place.store.audit(entry(n));
    }
    assert_eq!(place.store.stats().unaudited, 3);
    go_on.send(()).unwrap();
    busy.await.unwrap().unwrap();
    place.store.flush().await.unwrap();
    let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
    let last = place.store.audit_log(filter).await.unwrap();
    assert_eq!(last[0].action, (AUDITS_MAX - 1).to_string());
    assert_eq!(place.store.stats().unaudited, 3);
}

/// They pour in, and nobody waits for the next time that old ones are removed.
#[actix::test]
async fn the_oldest_entries_of_the_audit_log_go_while_new_ones_pour_in() {
    let place = Place::new();
    let add = "INSERT INTO audit (seq, at, action, outcome) VALUES (?1, '', 'old', 'done')";
    for seq in [1, 2, 999_999] {
        place.other().execute(add, [seq]).unwrap();
    }
    let entry = AuditEntry {
        at: time(0),
        principal: None,
        address: None,
        action: "new".to_owned(),
        session_id: None,
        outcome: Outcome::Failed,
        detail: None,
    };
    let old = "SELECT count(*) FROM audit WHERE action = 'old'";
    let half = EXPIRED_AT_ONCE / 2;
    for (added, left) in [(half, 3), (EXPIRED_AT_ONCE, 1)] {
        for _ in 0..half {
            place.store.audit(entry.clone());
        }
        place.store.flush().await.unwrap();
        assert_eq!(place.count(old), left, "{added} entries");
    }
    let new = "SELECT count(*) FROM audit WHERE action = 'new'";
    assert_eq!(place.count(new), EXPIRED_AT_ONCE as i64);
}

#[actix::test]
async fn a_share_link_is_read_as_it_is_written() {
    let place = Place::new();
    let row = row(None);
    place.store.commit(untold(&row)).await.unwrap();
    let (token, attic) = (Some(uuid::Uuid::now_v7()), crate::relay::NodeName::new("attic").ok());
    let elsewhere = SessionId::generate();
    for (n, created_by_token, node, session) in [
        (1, None, None, row.session.id),
        (2, token, None, row.session.id),
        (3, token, attic.clone(), elsewhere),
        (4, None, attic, elsewhere),
    ] {
        let share = ShareRow {
            id: SessionId::generate(),
            node,
            session,
            digest: [n; 32],
            mode: Mode::Rw,
            created_at: time(0),
            created_by: "anna".to_owned(),
            created_by_token,
            expires_at: None,
        };
        let change = GrantChange::AddShare(share.clone());
        place.store.change_grants(vec![change]).await.unwrap();
        assert_eq!(place.store.grants().await.unwrap().shares.last(), Some(&share));
    }
    let ended = vec![GrantChange::Remove(vec![[2; 32], [3; 32]])];
    place.store.change_grants(ended).await.unwrap();
    let left = place.store.grants().await.unwrap().shares;
    assert_eq!(left.iter().map(|share| share.digest[0]).collect::<Vec<_>>(), [1, 4]);
}
