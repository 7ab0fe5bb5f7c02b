//! Rows, holder and processes, held against each other and against what was asked for.

use super::churn::{Book, Entry, Kind};
use super::processes::Processes;
use crate::support::{DEADLINE, Server};
use actix_web::rt::time::sleep;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OpenFlags};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Between two looks at what has not settled yet.
const AGAIN: Duration = Duration::from_millis(20);
/// The two clocks that a deadline is kept on may drift apart by this much.
const DRIFT: TimeDelta = TimeDelta::milliseconds(50);

/// A row of `sessions`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    id: String,
    name: Option<String>,
    status: String,
    pid: Option<i32>,
    start_time: Option<i64>,
    ending_reason: Option<String>,
    destroy_at: Option<String>,
    ended_at: Option<String>,
    end_reason: Option<String>,
    exit_code: Option<i32>,
}

impl Row {
    fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "ACTIVE" | "IDLE")
    }

    fn ended_with(&self, status: &str, reason: &str) -> bool {
        self.status == status && self.end_reason.as_deref() == Some(reason)
    }
}

/// The database at one moment.
#[derive(Default)]
pub(super) struct Database {
    rows: HashMap<String, Row>,
    /// What the transitions of a session begin with, lead through and end with.
    transitions: HashMap<String, Vec<(Option<String>, String)>>,
}

impl Database {
    /// Reads without becoming a writer, who would tidy up behind a dead server.
    pub(super) fn read(server: &Server) -> Self {
        let path = server.state().join("stayd.db");
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        db.busy_timeout(DEADLINE).unwrap();
        let db = db.transaction().unwrap();
        let query = "SELECT id, name, status, pid, pid_start_time, ending_reason, destroy_at, \
                     ended_at, end_reason, exit_code FROM sessions";
        let mut found = Database::default();
        let mut rows = db.prepare(query).unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let row = Row {
                id: row.get_unwrap(0),
                name: row.get_unwrap(1),
                status: row.get_unwrap(2),
                pid: row.get_unwrap(3),
                start_time: row.get_unwrap(4),
                ending_reason: row.get_unwrap(5),
                destroy_at: row.get_unwrap(6),
                ended_at: row.get_unwrap(7),
                end_reason: row.get_unwrap(8),
                exit_code: row.get_unwrap(9),
            };
            found.rows.insert(row.id.clone(), row);
        }
        let query = "SELECT session_id, from_status, to_status FROM transitions ORDER BY seq";
        let mut steps = db.prepare(query).unwrap();
        let mut steps = steps.query([]).unwrap();
        while let Some(row) = steps.next().unwrap() {
            let steps = found.transitions.entry(row.get_unwrap(0)).or_default();
            steps.push((row.get_unwrap(1), row.get_unwrap(2)));
        }
        found
    }

    /// The id of the live session of this name.
    pub(super) fn live_id(&self, name: &str) -> Option<String> {
        let row = self.live().find(|row| row.name.as_deref() == Some(name))?;
        Some(row.id.clone())
    }

    fn live(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(|row| row.is_live())
    }

    /// Every change of status has its row, in the order in which it happened.
    fn check_transitions(&self) -> Result<(), String> {
        for row in self.rows.values() {
            let mut status = None;
            for (from, to) in self.transitions.get(&row.id).into_iter().flatten() {
                require(*from == status, || format!("from {from:?} after {status:?}: {row:?}"))?;
                status = Some(to.clone());
            }
            require(status.as_ref() == Some(&row.status), || {
                format!("came to {status:?}: {row:?}")
            })?;
        }
        Ok(())
    }
}

/// Waits until all agree: `before` is what the last server left behind. Returns what is so.
pub(super) async fn agrees(server: &Server, book: &Book, before: &Database) -> Database {
    let start = Instant::now();
    loop {
        match look(server, book, before).await {
            Ok(now) => return now,
            Err(why) => {
                let patient = start.elapsed() < DEADLINE;
                assert!(patient, "rows, registry, holder and processes disagree: {why}");
            }
        }
        sleep(AGAIN).await;
    }
}

async fn look(server: &Server, book: &Book, before: &Database) -> Result<Database, String> {
    let now = Database::read(server);
    let list = server.api().get("/api/v1/sessions?limit=1000").await.ok(200);
    let listed: HashMap<&str, Option<i64>> = list["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|session| (session["id"].as_str().expect("an id"), session["pid"].as_i64()))
        .collect();
    let live: HashMap<&str, Option<i64>> =
        now.live().map(|row| (row.id.as_str(), row.pid.map(i64::from))).collect();
    require(live == listed, || format!("rows {live:?}, registry {listed:?}"))?;
    look_at_processes(server, &now)?;
    now.check_transitions()?;
    for row in before.rows.values() {
        let now = now.rows.get(&row.id);
        let now = now.ok_or_else(|| format!("its row is gone: {row:?}"))?;
        look_at_promises(row, now, book)?;
    }
    for entry in &book.entries {
        look_at_entry(entry, &now)?;
    }
    Ok(now)
}

/// Holder and guardian have no other children, and what they have started is of a live session.
fn look_at_processes(server: &Server, now: &Database) -> Result<(), String> {
    let leaders: HashSet<i32> = now.live().filter_map(|row| row.pid).collect();
    let processes = Processes::of(server.guardian_pid(), server.holder_pid(), &leaders);
    let children = processes.leaders();
    require(leaders == children, || {
        format!("live rows {leaders:?}, under guardian and holder {children:?}")
    })?;
    for row in now.live() {
        let leader = row.pid.and_then(|pid| processes.get(pid));
        let start_time = leader.map(|leader| leader.start_time as i64);
        require(start_time == row.start_time, || format!("started at {start_time:?}: {row:?}"))?;
    }
    for (pid, session) in processes.marked() {
        let row = session.as_ref().and_then(|id| now.rows.get(id));
        require(row.is_some_and(Row::is_live), || {
            format!("process {pid} of {session:?}: {row:?}")
        })?;
    }
    Ok(())
}

/// What the last server had written down holds.
fn look_at_promises(then: &Row, now: &Row, book: &Book) -> Result<(), String> {
    if !then.is_live() {
        return require(then == now, || format!("ended as {then:?}, now {now:?}"));
    }
    if now.is_live() {
        require(now.pid == then.pid || then.pid.is_none(), || {
            format!("another process: {then:?} {now:?}")
        })?;
    }
    if let Some(reason) = &then.ending_reason {
        return require(now.ended_with("TERMINATED", reason), || format!("still to end: {now:?}"));
    }
    let Some(deadline) = &then.destroy_at else { return Ok(()) };
    if now.status == "ACTIVE" {
        // Its client is back already.
        return require(now.destroy_at.is_none(), || format!("attached, but due: {now:?}"));
    }
    if now.is_live() {
        require(now.destroy_at.as_ref() == Some(deadline), || {
            format!("was due at {deadline}: {now:?}")
        })?;
        let late = Utc::now().signed_duration_since(time(deadline));
        return require(late <= DRIFT, || format!("overdue: {now:?}"));
    }
    let to_end = |entry: &Entry| entry.to_end && entry.id.as_ref() == Some(&now.id);
    if book.entries.iter().any(to_end) || now.end_reason.as_deref() == Some("spawn_failed") {
        return Ok(());
    }
    let ended = time(now.ended_at.as_ref().expect("ended_at of an ended session"));
    require(ended + DRIFT >= time(deadline), || format!("ended before {deadline}: {now:?}"))
}

/// What was asked for came about, once, or was recorded as failed.
fn look_at_entry(entry: &Entry, now: &Database) -> Result<(), String> {
    let mut rows = now.rows.values().filter(|row| row.name.as_ref() == Some(&entry.name));
    let (row, another) = (rows.next(), rows.next());
    require(another.is_none(), || format!("two of them: {entry:?}"))?;
    let Some(row) = row else {
        return require(entry.id.is_none(), || format!("was created and has no row: {entry:?}"));
    };
    require(entry.id.as_ref().is_none_or(|id| *id == row.id), || format!("{entry:?}: {row:?}"))?;
    let failed = row.ended_with("ERROR", "spawn_failed") && entry.id.is_none();
    let timed_out = || {
        row.ended_with("TERMINATED", "first_attach_timeout")
            || row.ended_with("TERMINATED", "idle_timeout")
    };
    let fits = failed
        || match entry.kind {
            _ if entry.ended => row.ended_with("TERMINATED", "killed"),
            Kind::Missing => false,
            Kind::Brief => row.ended_with("ERROR", "exited") && row.exit_code == Some(3),
            kind => {
                row.is_live()
                    || (entry.to_end && row.ended_with("TERMINATED", "killed"))
                    || (kind.is_timed() && timed_out())
            }
        };
    require(fits, || format!("{entry:?}: {row:?}"))
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("RFC 3339")
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
