//! Pairs the database's rows with the sessions that the holder holds (REQ-004-004, REQ-004-006).

use crate::holder::wire::Entry;
use crate::holder::{Held, Holder, HolderError, Unusable};
use crate::id::SessionId;
use crate::lifecycle::{Deadline, Event, LifecycleSnapshot, Now, Status, Timeouts};
use crate::protocol::Session;
use crate::registry::launch::hand_on;
use crate::ring::RingError;
use crate::session::{Blob, Revival, adopted, log_transition, missed, timeouts};
use crate::store::{Change, Row, StoreError, StoreHandle};
use crate::tree::{self, ProcessId};
use chrono::TimeDelta;
use slog::{Logger, error, warn};
use std::collections::HashMap;

/// Why nothing could be restored at all.
#[derive(Debug, thiserror::Error)]
pub(in crate::registry) enum RestoreError {
    #[error("the database cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the holder does not tell what it holds: {0}")]
    Holder(#[from] HolderError),
}

/// A session that was found.
pub(in crate::registry) enum Found {
    /// The session goes on. `news` is a change that its row lacks.
    Held { row: Row, saved: LifecycleSnapshot, held: Held, news: Option<Box<Change>> },
    /// The row has ended: the server died before the holder could forget it.
    Ended { row: Row, exited: bool, held: Option<Held> },
    /// The session cannot go on, because of `event`: what is left of it is swept.
    Over { row: Row, saved: LifecycleSnapshot, event: Event },
}

impl Found {
    pub(in crate::registry) fn id(&self) -> SessionId {
        let (Found::Held { row, .. } | Found::Ended { row, .. } | Found::Over { row, .. }) = self;
        row.session.id
    }
}

/// The database and the holder.
#[derive(Clone)]
pub(in crate::registry) struct Sources {
    pub(in crate::registry) store: StoreHandle,
    pub(in crate::registry) holder: Holder,
    pub(in crate::registry) log: Logger,
}

/// Reads both sides and pairs them. Rows that cannot be read are written anew or ended.
pub(in crate::registry) async fn find(
    sources: &Sources,
    now: Now,
) -> Result<Vec<Found>, RestoreError> {
    let boot_id = tree::boot_id().unwrap_or_default();
    let mut held = HashMap::new();
    for one in adopt(sources).await? {
        let id = one.as_ref().map_or_else(|unusable| unusable.entry.id, |held| held.id);
        held.insert(id, one);
    }
    let live = sources.store.load_live().await?;
    let mut found = Vec::new();
    for row in live.rows {
        match held.remove(&row.session.id) {
            Some(held) => found.extend(pair(sources, Some(row), held, &boot_id, now)),
            None => found.push(not_held(row, &boot_id, now)),
        }
    }
    for row in live.unreadable {
        error!(sources.log, "a session's row cannot be read"; "session" => &row.id,
            "error" => row.error);
        if !row.id.parse().is_ok_and(|id: SessionId| held.contains_key(&id)) {
            sources.store.end_unreadable(row.id).await?;
        }
    }
    for (id, held) in held {
        found.extend(look_up(sources, id, held, &boot_id, now).await?);
    }
    Ok(found)
}

/// Adopts the sessions that the holder holds. A session that was started again, and whose server
/// died before it could hand the screen on, gets the screen now.
pub(in crate::registry) async fn adopt(
    sources: &Sources,
) -> Result<Vec<Result<Held, Unusable>>, HolderError> {
    let mut all = sources.holder.adopt_each().await?;
    let lacks = |held: &&mut Held| held.checkpoint.is_none() && held.ring.base() > 0;
    for held in all.iter_mut().flatten().filter(lacks) {
        // Without the database it begins empty.
        let screen = sources.store.last_screen(held.id).await.ok().flatten();
        if let Some(screen) = screen.filter(|screen| screen.offset == held.ring.base()) {
            let handed = hand_on(screen, held.id, &sources.holder, &sources.log).await;
            held.checkpoint = Some(handed);
        }
    }
    Ok(all)
}

/// Ended sessions that are to be started again, in the state that they ended in.
pub(in crate::registry) async fn restarting(sources: &Sources) -> Result<Vec<Revival>, StoreError> {
    let mut all = Vec::new();
    for row in sources.store.load_restarting().await? {
        let last = sources.store.transitions(row.session.id).await?.pop();
        let status = last.and_then(|transition| transition.from_status);
        all.push(Revival::found(row, status));
    }
    Ok(all)
}

/// A live row of a session that the holder does not hold.
pub(in crate::registry) fn not_held(row: Row, boot_id: &str, now: Now) -> Found {
    let saved = saved(&row, None, false, boot_id, now);
    // Its server died before it was spawned, or its holder died.
    let never_started = row.process.is_none() && row.session.pid.is_none();
    let event = if never_started { Event::SpawnFailed } else { Event::Orphaned };
    Found::Over { row, saved, event }
}

/// A held session that is not among the live rows.
pub(in crate::registry) async fn look_up(
    sources: &Sources,
    id: SessionId,
    held: Result<Held, Unusable>,
    boot_id: &str,
    now: Now,
) -> Result<Option<Found>, StoreError> {
    let row = match sources.store.get(id).await {
        Ok(row) => row,
        Err(StoreError::Refused(error)) => {
            warn!(sources.log, "a row that cannot be read is written anew from the holder's words";
                "session" => %id, "error" => error);
            let (entry, blob, offset) = words(&held);
            let row = row_of(&entry, blob, offset, boot_id, now);
            let change = Change { transition: Some(adopted(&row, now)), row: row.clone() };
            log_transition(&sources.log, &change);
            sources.store.overwrite(change).await?;
            Some(row)
        }
        Err(error) => return Err(error),
    };
    Ok(pair(sources, row, held, boot_id, now))
}

/// One held session and its row. `None`: nothing can be done about it now.
fn pair(
    sources: &Sources,
    row: Option<Row>,
    held: Result<Held, Unusable>,
    boot_id: &str,
    now: Now,
) -> Option<Found> {
    let (entry, blob, offset) = words(&held);
    let read = Blob::from_bytes(blob);
    let (mut row, news) = match row {
        Some(row) if !row.session.status.is_live() => {
            return Some(Found::Ended { row, exited: entry.exit.is_some(), held: held.ok() });
        }
        Some(mut row) => {
            let behind = catch_up(&mut row, read.as_ref());
            let missed = behind.map(|behind| missed(&row, behind, now));
            (row, missed)
        }
        None => {
            warn!(sources.log, "the holder holds a session without a row: adopted";
                "session" => %entry.id, "pid" => entry.pid);
            let row = row_of(&entry, blob, offset, boot_id, now);
            let created = adopted(&row, now);
            (row, Some(created))
        }
    };
    // The holder knows best: the row may be from before the spawn was answered, and its server
    // may have died before it could write down the terminal's last size.
    row.session.pid = Some(entry.pid);
    (row.session.cols, row.session.rows) = (entry.cols, entry.rows);
    row.process = Some(process(&entry, boot_id));
    let saved = saved(&row, read.as_ref(), entry.exit.is_some(), boot_id, now);
    row.ending = saved.ending;
    match held {
        Ok(held) => {
            let news =
                news.map(|news| Box::new(Change { row: row.clone(), transition: Some(news) }));
            if let Some(news) = &news {
                log_transition(&sources.log, news);
            }
            Some(Found::Held { row, saved, held, news })
        }
        Err(unusable) if is_temporary(&unusable.error) => {
            error!(sources.log, "a session cannot be used now; it is looked at again later";
                "session" => %entry.id, "error" => %unusable.error);
            None
        }
        Err(unusable) => {
            error!(sources.log, "a session cannot be restored";
                "session" => %entry.id, "error" => %unusable.error);
            Some(Found::Over { row, saved, event: Event::RestoreFailed })
        }
    }
}

/// Whether the error comes from a lack of descriptors or memory in this process, which passes.
fn is_temporary(error: &HolderError) -> bool {
    !matches!(error, HolderError::Ring(RingError::Foreign(_) | RingError::Capacity(_)))
}

/// The holder's entry, blob and offset of a session; the offset is 0 where its ring cannot be used.
fn words(held: &Result<Held, Unusable>) -> (Entry, &[u8], u64) {
    match held {
        Ok(held) => {
            let entry = Entry {
                id: held.id,
                pid: held.pid,
                start_time: held.start_time,
                exit: held.exit,
                cols: held.cols,
                rows: held.rows,
                checkpoint: None,
                checkpoint_bytes: 0,
            };
            (entry, &held.blob, held.ring.head())
        }
        Err(unusable) => (Entry::clone(&unusable.entry), &unusable.blob, 0),
    }
}

/// The blob is left before the row is written, so it may know what the row does not:
/// clients that came or left last. Returns the status that the row was in, if it is behind.
fn catch_up(row: &mut Row, blob: Option<&Blob>) -> Option<Status> {
    let blob = blob?;
    let status = blob.status?;
    row.session.name.clone_from(&blob.name);
    row.session.idle_timeout_s = blob.idle_timeout_s;
    row.session.idle_timeout_before_s = blob.idle_timeout_before_s;
    row.session.idle_when = blob.idle_when;
    row.session.size_policy = blob.size_policy;
    row.session.restart = blob.restart;
    if blob.all_labels {
        row.session.labels.clone_from(&blob.labels);
    }
    // The blob is written first; a start that both speak of is over, since it is held.
    row.session.restart_at = blob.restart_at;
    let behind = status != row.session.status && status.is_live() && status != Status::Running;
    behind.then(|| std::mem::replace(&mut row.session.status, status))
}

/// The snapshot that the state machine starts from.
fn saved(
    row: &Row,
    blob: Option<&Blob>,
    exited: bool,
    boot_id: &str,
    now: Now,
) -> LifecycleSnapshot {
    let session = &row.session;
    let timeouts = timeouts(session);
    let signals = blob.map(|blob| blob.signals).unwrap_or_default();
    let ending = row.ending.or_else(|| blob.and_then(Blob::ending));
    // A leader that has exited by itself ends its session by that and by nothing else.
    if exited {
        let timeouts = Timeouts::default();
        return LifecycleSnapshot {
            status: session.status,
            deadline: None,
            timeouts,
            ending,
            signals,
        };
    }
    let deadline = match blob.and_then(|blob| blob.deadline_in(boot_id)) {
        // Its display is refreshed where it is off.
        Some(boot_ms) => Some(Deadline { boot_ms, at: session.destroy_at.unwrap_or(now.wall) }),
        // Another boot, or no word of it: the wall clock is all there is.
        None => session.destroy_at.map(|at| {
            let left = at.signed_duration_since(now.wall).max(TimeDelta::zero());
            let left = u64::try_from(left.num_milliseconds()).unwrap_or(0);
            Deadline { boot_ms: now.boot_ms.saturating_add(left), at }
        }),
    };
    LifecycleSnapshot { status: session.status, deadline, timeouts, ending, signals }
}

fn process(entry: &Entry, boot_id: &str) -> ProcessId {
    ProcessId { pid: entry.pid, start_time: entry.start_time, boot_id: boot_id.to_owned() }
}

/// A row for a session that only the holder knows.
fn row_of(entry: &Entry, blob: &[u8], offset: u64, boot_id: &str, now: Now) -> Row {
    let blob = Blob::from_bytes(blob).unwrap_or_default();
    let ending = blob.ending();
    let session = Session {
        name: blob.name,
        profile: blob.profile,
        command: blob.command,
        cwd: blob.cwd,
        status: blob.status.filter(|status| status.is_live()).unwrap_or(Status::Running),
        created_at: blob.created_at,
        pid: Some(entry.pid),
        cols: entry.cols,
        rows: entry.rows,
        idle_timeout_s: blob.idle_timeout_s,
        idle_timeout_before_s: blob.idle_timeout_before_s,
        idle_when: blob.idle_when,
        first_attach_timeout_s: blob.first_attach_timeout_s,
        labels: blob.labels,
        offset,
        size_policy: blob.size_policy,
        restart: blob.restart,
        restart_at: blob.restart_at,
        recording: blob.recording,
        owner: blob.owner,
        owner_token: blob.owner_token,
        ..Session::begun(entry.id, now.wall)
    };
    Row { ending, process: Some(process(entry, boot_id)), ..Row::of(session) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::lifecycle::{EndReason, Ending, Exit};
    use chrono::{DateTime, Utc};
    use std::collections::BTreeMap;

    const BOOT: &str = "this boot";

    fn wall(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + s, 0).unwrap()
    }

    fn now() -> Now {
        Now { wall: wall(0), boot_ms: 1_000_000 }
    }

    fn entry() -> Entry {
        Entry {
            id: SessionId::generate(),
            pid: 7,
            start_time: 8,
            exit: None,
            cols: 80,
            rows: 24,
            checkpoint: None,
            checkpoint_bytes: 0,
        }
    }

    fn idle() -> (Row, Blob) {
        let blob = Blob {
            status: Some(Status::Idle),
            idle_timeout_s: Some(60),
            deadline_boot_ms: Some(1_020_000),
            boot_id: Some(BOOT.to_owned()),
            ..Blob::default()
        };
        let mut row = row_of(&entry(), &blob.to_bytes(), 0, BOOT, now());
        row.session.destroy_at = Some(wall(20));
        (row, blob)
    }

    #[test]
    fn a_deadline_goes_by_the_clock_of_its_boot_and_else_by_the_wall() {
        let (mut row, mut blob) = idle();
        let deadline = |row: &Row, blob: &Blob| {
            saved(row, Some(blob), false, BOOT, now()).deadline.map(|deadline| deadline.boot_ms)
        };
        assert_eq!(deadline(&row, &blob), Some(1_020_000));
        // The wall clock was set meanwhile: that moves nothing.
        row.session.destroy_at = Some(wall(-5000));
        assert_eq!(deadline(&row, &blob), Some(1_020_000));
        blob.boot_id = Some("another boot".to_owned());
        assert_eq!(deadline(&row, &blob), Some(1_000_000), "past: now");
        row.session.destroy_at = Some(wall(30));
        assert_eq!(deadline(&row, &blob), Some(1_030_000));
        row.session.destroy_at = None;
        assert_eq!(deadline(&row, &blob), None);
        // A row that was never written, or lost: the blob alone.
        blob.boot_id = Some(BOOT.to_owned());
        assert_eq!(deadline(&row, &blob), Some(1_020_000));
    }

    #[test]
    fn a_leader_that_has_exited_needs_no_timer() {
        let (row, blob) = idle();
        let saved = saved(&row, Some(&blob), true, BOOT, now());
        assert_eq!((saved.deadline, saved.timeouts.idle_s), (None, None));
    }

    #[test]
    fn a_kill_that_only_the_holder_knows_of_is_gone_on_with() {
        let (row, mut blob) = idle();
        blob.ending_reason = Some(EndReason::Killed);
        blob.ending_since = Some(wall(-1));
        let ending = Ending { reason: EndReason::Killed, since: wall(-1) };
        assert_eq!(saved(&row, Some(&blob), false, BOOT, now()).ending, Some(ending));
    }

    #[test]
    fn a_row_that_is_behind_the_blob_catches_up() {
        // (row, blob, the transition that is missing)
        let cases = [
            (Status::Running, Some(Status::Active), true),
            (Status::Running, Some(Status::Idle), true),
            (Status::Idle, Some(Status::Active), true),
            (Status::Active, Some(Status::Idle), true),
            (Status::Idle, Some(Status::Idle), false),
            (Status::Idle, Some(Status::Running), false),
            (Status::Idle, None, false),
        ];
        for (before, kept, behind) in cases {
            let (mut row, mut blob) = idle();
            row.session.status = before;
            blob.status = kept;
            assert_eq!(catch_up(&mut row, Some(&blob)), behind.then_some(before));
            let expected = if behind { kept.unwrap() } else { before };
            assert_eq!(row.session.status, expected, "{before} {kept:?}");
        }
    }

    #[test]
    fn labels_are_the_blobs_unless_it_had_no_room_for_them() {
        let labels = |n: &str| BTreeMap::from([("k".to_owned(), n.to_owned())]);
        for (kept, all, expected) in [("new", true, "new"), ("", false, "old")] {
            let (mut row, mut blob) = idle();
            row.session.labels = labels("old");
            (blob.labels, blob.all_labels) = (labels(kept), all);
            catch_up(&mut row, Some(&blob));
            assert_eq!(row.session.labels, labels(expected));
        }
        let (mut row, blob) = idle();
        row.session.labels = labels("old");
        catch_up(&mut row, Some(&Blob { all_labels: true, ..blob }));
        assert!(row.session.labels.is_empty(), "they were taken away");
    }

    #[test]
    fn a_row_is_made_of_what_the_holder_keeps() {
        let (_, mut blob) = idle();
        blob.name = Some("kept".to_owned());
        let entry = Entry { exit: Some(Exit::Code(0)), ..entry() };
        let row = row_of(&entry, &blob.to_bytes(), 9, BOOT, now());
        assert_eq!((row.session.id, row.session.offset), (entry.id, 9));
        assert_eq!(row.session.status, Status::Idle);
        assert_eq!(row.session.name.as_deref(), Some("kept"));
        assert_eq!(row.process.unwrap().start_time, 8);
        let nameless = row_of(&entry, b"garbage", 0, BOOT, now());
        assert_eq!((nameless.session.status, nameless.session.name), (Status::Running, None));
    }
}
