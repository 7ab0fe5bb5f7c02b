//! Completes what a dead holder has left unfinished. It is not reaped yet, so that the kernel still
//! tells how much it had read and written.

use crate::holder::shared::account::{self, Intent, Unfinished};
use crate::holder::shared::{Queue, SharedState, Slot, journal, kept};
use crate::ring::{RingError, Writer};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Makes the shared state whole, and closes what nobody knows of any more.
pub(super) fn recover(shared: &Arc<SharedState>) {
    let stats = &shared.header().stats;
    let failed = journal::redo(shared).is_err();
    let outcome = match account::unfinished(shared) {
        Some(unfinished) => complete(shared, &unfinished),
        None => Ok(Completion::Nothing),
    };
    match outcome {
        Ok(Completion::Nothing) => {}
        Ok(Completion::Done) => drop(stats.completed.fetch_add(1, Relaxed)),
        Ok(Completion::Unknown) | Err(_) => drop(stats.gaps.fetch_add(1, Relaxed)),
    }
    if failed {
        stats.gaps.fetch_add(1, Relaxed);
    }
    sweep(shared);
}

/// Closes the account of a holder that is none any more, and what nobody knows of.
pub(super) fn sweep(shared: &SharedState) {
    account::close(shared);
    // An old kernel leaves some descriptors open.
    let _ = kept::sweep(shared);
}

/// What has become of an operation.
enum Completion {
    /// It was not done, or noted already.
    Nothing,
    /// It is noted now.
    Done,
    /// Nobody knows whether it was done.
    Unknown,
}

fn complete(shared: &Arc<SharedState>, unfinished: &Unfinished) -> Result<Completion, RingError> {
    let bytes = match unfinished.bytes {
        Some(0) => return Ok(Completion::Nothing),
        Some(bytes) => bytes,
        None => return Ok(Completion::Unknown),
    };
    match unfinished.intent {
        Intent::Output { slot, head } => {
            let ring = Slot::new(shared, slot).ring();
            let ring = ring.ok_or(RingError::Foreign("no descriptor"))?;
            Writer::reopen(ring.as_fd())?.complete(head.saturating_add(bytes));
        }
        Intent::Input { slot, start } => {
            Queue::of(&Slot::new(shared, slot)).written_to(start.saturating_add(bytes));
        }
        Intent::Take { taken } => {
            let words = &shared.header().server;
            words.tries.store(0, Release);
            words.taken.store(taken.saturating_add(1), Release);
        }
    }
    Ok(Completion::Done)
}
