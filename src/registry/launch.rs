//! A session's beginning: its row written, its process spawned, the row completed.

use super::create::{CreateError, Plan, START, START_DEADLINE};
use super::idempotency::note_failure;
use crate::holder::wire::FailureCode;
use crate::holder::{Checkpoint, CheckpointMeta, Held, Holder, HolderError, SpawnError, SpawnSpec};
use crate::id::SessionId;
use crate::lifecycle::Event;
use crate::protocol::Cause;
use crate::screens::LastScreen;
use crate::session::{Blob, Record, log_transition, now};
use crate::store::{Change, Row, StoreError, StoreHandle};
use crate::tree::{self, ProcessId};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use slog::{Logger, warn};
use std::time::Duration;
use tokio::time::timeout;

/// The interval and the number of attempts to have the holder forget a killed process, whose end
/// causes no event here.
const FORGET_RETRY: Duration = Duration::from_millis(100);
const FORGET_TRIES: u32 = 100;

/// A name may have the form of an id, since clients make up such names; but then no session
/// has that id, whether it lives or has ended.
pub(super) async fn check_no_id(name: &str, store: &StoreHandle) -> Result<(), CreateError> {
    let Ok(id) = name.parse::<SessionId>() else { return Ok(()) };
    match store.get(id).await {
        Ok(None) => Ok(()),
        // A row that cannot be read is one.
        Ok(Some(_)) | Err(StoreError::Refused(_)) => Err(CreateError::NameIsId(name.to_owned())),
        Err(error) => Err(CreateError::Store(error)),
    }
}

/// A session that is about to be started.
pub(super) struct Start {
    pub(super) record: Record,
    /// Its first row.
    pub(super) begun: Change,
    pub(super) spec: SpawnSpec,
    /// The screen that the session goes on with, if it is started again.
    pub(super) screen: Option<LastScreen>,
}

impl Start {
    /// A new session's.
    pub(super) fn of(Plan { row, spec, timeouts, .. }: Plan, cause: Option<Cause>) -> Self {
        let (record, begun) = Record::create(row, timeouts, cause, now());
        Start { record, begun, spec, screen: None }
    }
}

/// A start that failed.
pub(super) struct Unstarted {
    pub(super) error: CreateError,
    /// The row as it was written; `None`: it was not changed.
    pub(super) row: Option<Row>,
}

impl From<CreateError> for Unstarted {
    fn from(error: CreateError) -> Self {
        Unstarted { error, row: None }
    }
}

/// Row, then process, then row again: a server that dies in between leaves a trace.
pub(super) async fn spawn(
    Start { mut record, begun, spec, screen }: Start,
    ring_bytes: u64,
    store: &StoreHandle,
    holder: &Holder,
    log: &Logger,
) -> Result<(Record, Held), Unstarted> {
    log_transition(log, &begun);
    let committed = store.commit(begun);
    // While it is written, because the writer is another thread. The holder hears of it afterwards.
    let id = record.row.session.id;
    record.row.session.restart_at = None;
    let blob = Blob::of(&record).to_bytes();
    let prepared = holder.prepare(id, &spec, ring_bytes, &blob);
    match committed.await {
        Ok(()) => {}
        Err(StoreError::NameTaken(_)) => {
            let name = record.row.session.name.unwrap_or_default();
            return Err(CreateError::NameTaken(name).into());
        }
        Err(error) => return Err(CreateError::Store(error).into()),
    }
    let spawned = timeout(START_DEADLINE, async { prepared?.start().await }).await;
    match spawned {
        Ok(Ok(mut held)) if is_of(&held, &spec) => {
            if let Some(screen) = screen {
                held.checkpoint = Some(hand_on(screen, id, holder, log).await);
            }
            record.started(process_id(&held));
            let change = record.unchanged();
            // If that fails, the next restore completes the row.
            let _ = store.commit_or_queue(change).await;
            Ok((record, held))
        }
        unstarted => {
            note_failure(&mut record.row, &unstarted);
            let failed = record.end(Event::SpawnFailed, now());
            log_transition(log, &failed);
            let row = failed.row.clone();
            let session = row.session.clone();
            let _ = store.commit_or_queue(failed).await;
            let error = match unstarted {
                Ok(Err(SpawnError::Step { step, errno })) => {
                    CreateError::spawn_failed(Box::new(session), step, errno)
                }
                Ok(Err(SpawnError::Limit(why))) => CreateError::TooMany(why),
                Ok(Err(SpawnError::Holder(error))) => CreateError::Holder(error.to_string()),
                Ok(Ok(_)) => CreateError::Holder("it still has what has ended".to_owned()),
                Err(_) => {
                    actix_web::rt::spawn(give_up(holder.clone(), id, log.clone()));
                    let errno = Errno::ETIMEDOUT as i32;
                    CreateError::spawn_failed(Box::new(session), START.to_owned(), errno)
                }
            };
            Err(Unstarted { error, row: Some(row) })
        }
    }
}

fn process_id(held: &Held) -> ProcessId {
    let boot_id = tree::boot_id().unwrap_or_default();
    ProcessId { pid: held.pid, start_time: held.start_time, boot_id }
}

/// Whether the holder has started this process, and not answered with an earlier one of this id.
fn is_of(held: &Held, spec: &SpawnSpec) -> bool {
    spec.resumed.as_ref().is_none_or(|resumed| held.ring.base() == resumed.base)
}

/// Gives the holder the screen that a session goes on with, for a server after this one.
pub(super) async fn hand_on(
    screen: LastScreen,
    id: SessionId,
    holder: &Holder,
    log: &Logger,
) -> Checkpoint {
    let LastScreen { offset, cols, rows, bytes } = screen;
    let meta = CheckpointMeta { offset, cols, rows, ..CheckpointMeta::default() };
    if let Err(error) = holder.checkpoint(id, &meta, &bytes).await {
        warn!(log, "the holder did not take a screen"; "session" => %id, "error" => %error);
    }
    Checkpoint::ours(meta, bytes)
}

/// Kills a process that has not started in time. If that fails, it is left to the next restore.
async fn give_up(holder: Holder, id: SessionId, log: Logger) {
    // Refused only if it has ended by itself meanwhile.
    let _ = holder.signal(id, Signal::SIGKILL as i32).await;
    for _ in 0..FORGET_TRIES {
        match holder.forget(id).await {
            Err(HolderError::Refused { code: FailureCode::Live, .. }) => {
                tokio::time::sleep(FORGET_RETRY).await;
            }
            _ => return,
        }
    }
    warn!(log, "what did not start cannot be killed"; "session" => %id);
}
