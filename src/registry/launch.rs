//! A session's beginning: its row written, its process spawned, the row completed.

use super::create::{CreateError, Plan, START_DEADLINE, refused, timed_out};
use super::idempotency::note_failure;
use super::transitions::{transition, transition_by};
use crate::holder::wire::FailureCode;
use crate::holder::{Checkpoint, CheckpointMeta, Held, Holder, HolderError, SpawnSpec};
use crate::id::SessionId;
use crate::lifecycle::{Effect, Event, Lifecycle, Reason};
use crate::protocol::Cause;
use crate::screens::LastScreen;
use crate::session::{Blob, decide_restart, now, write_life};
use crate::store::{Change, NewTransition, Row, StoreError, StoreHandle};
use crate::tree::{self, ProcessId};
use nix::sys::signal::Signal;
use slog::{Logger, warn};
use std::time::Duration;
use tokio::time::timeout;

/// Between attempts to forget what was killed, and how many: an end has no event here.
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

/// What is about to be started.
pub(super) struct Start {
    pub(super) row: Row,
    pub(super) spec: SpawnSpec,
    /// What its first row says of its life, and what is to be done once it runs.
    pub(super) life: (Lifecycle, Vec<Effect>),
    /// Written with that row.
    pub(super) begun: NewTransition,
    /// What its terminal shows already.
    pub(super) screen: Option<LastScreen>,
}

impl Start {
    /// A new session's.
    pub(super) fn of(
        Plan { mut row, spec, timeouts }: Plan,
        cause: Option<Cause>,
        log: &Logger,
    ) -> Self {
        let at = now();
        let (life, effects) = Lifecycle::new(timeouts, at);
        write_life(&mut row, &life);
        let (id, status) = (row.session.id, life.status());
        let begun = transition_by(log, id, at, None, status, Reason::Created, cause);
        Start { row, spec, life: (life, effects), begun, screen: None }
    }
}

pub(super) struct Spawned {
    pub(super) row: Row,
    pub(super) held: Held,
    pub(super) life: (Lifecycle, Vec<Effect>),
}

/// Why nothing was started.
pub(super) struct Unstarted {
    pub(super) error: CreateError,
    /// What its row says now; none: what it said before.
    pub(super) row: Option<Row>,
}

impl From<CreateError> for Unstarted {
    fn from(error: CreateError) -> Self {
        Unstarted { error, row: None }
    }
}

/// Row, then process, then row again: a server that dies in between leaves a trace.
pub(super) async fn spawn(
    Start { mut row, spec, life: (mut life, mut effects), begun, screen }: Start,
    ring_bytes: u64,
    store: &StoreHandle,
    holder: &Holder,
    log: &Logger,
) -> Result<Spawned, Unstarted> {
    match store.commit(Change { row: row.clone(), transition: Some(begun) }).await {
        Ok(()) => {}
        Err(StoreError::NameTaken(_)) => {
            return Err(CreateError::NameTaken(row.session.name.unwrap_or_default()).into());
        }
        Err(error) => return Err(CreateError::Store(error).into()),
    }
    // They are written.
    effects.retain(|effect| !matches!(effect, Effect::Record { .. } | Effect::Save));
    let id = row.session.id;
    row.session.restart_at = None;
    let blob = Blob::of(&row, &life).to_bytes();
    let spawned = timeout(START_DEADLINE, holder.spawn(id, &spec, ring_bytes, &blob)).await;
    match spawned {
        Ok(Ok(mut held)) if is_of(&held, &spec) => {
            if let Some(screen) = screen {
                held.checkpoint = Some(hand_on(screen, id, holder, log).await);
            }
            row.session.pid = Some(held.pid);
            row.process = Some(process_id(&held));
            let change = Change { row: row.clone(), transition: None };
            // Should it fail, the row is completed by whoever restores it.
            let _ = store.commit_or_queue(change).await;
            Ok(Spawned { row, held, life: (life, effects) })
        }
        unstarted => {
            let at = now();
            let from = life.status();
            // What was just begun can fail to start.
            let _ = life.apply(Event::SpawnFailed, at);
            write_life(&mut row, &life);
            note_failure(&mut row, &unstarted);
            decide_restart(&mut row);
            let reason = life.end().map_or(Reason::Created, |end| Reason::End(end.reason));
            let failed = transition(log, row.session.id, at, Some(from), life.status(), reason);
            let session = row.session.clone();
            let _ =
                store.commit_or_queue(Change { row: row.clone(), transition: Some(failed) }).await;
            let error = match unstarted {
                Ok(Err(error)) => refused(error, session),
                Ok(Ok(_)) => CreateError::Holder("it still has what has ended".to_owned()),
                Err(_) => {
                    actix_web::rt::spawn(give_up(holder.clone(), id, log.clone()));
                    timed_out(session)
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

/// Whether the holder has started this, and not answered with what it had of that id.
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

/// Kills what does not start. What cannot even be killed is left to whoever restores.
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
