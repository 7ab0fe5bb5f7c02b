//! What waits to be written, and how writing goes: shared by the handles and the writer.
//!
//! It lies outside the writer's mailbox, so that a slow disk grows no mailbox (one wake-up
//! is under way at most) and nothing in it is lost with a message.

use super::error::StoreError;
use super::row::Change;
use crate::id::SessionId;
use crate::metrics::Latency;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Activity seen and not written yet: the latest of each session.
pub(super) type Touched = HashMap<SessionId, DateTime<Utc>>;

/// One thing to write.
pub(super) enum Op {
    Save(Box<Change>),
    Commit { change: Box<Change>, on_failure: OnFailure, reply: oneshot::Sender<Committed> },
}

/// What becomes of a commit while the database is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    Forget,
    Queue,
}

/// Whether it is in the database (else it is queued).
pub(super) type Committed = Result<bool, StoreError>;

/// What [`Queue::push`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The caller must wake the writer.
    Wake,
    /// It is awake.
    Awake,
    /// There is none any more; the operation is dropped.
    Closed,
}

/// What the writer takes at once.
pub(super) struct Taken {
    pub(super) ops: Vec<Op>,
    /// The flush tick came: activity is due, and what failed is tried again.
    pub(super) tick: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    touched: Mutex<Touched>,
    error: Mutex<Option<String>>,
    pub(super) transactions: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Changes that the writer has taken and could not write yet.
    pub(super) unwritten: AtomicU64,
    pub(super) latency: Latency,
}

#[derive(Default)]
struct Waiting {
    ops: Vec<Op>,
    tick: bool,
    awake: bool,
    closed: bool,
}

impl Queue {
    /// Adds to the end.
    pub(super) fn push(&self, op: Op) -> Pushed {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Pushed::Closed;
        }
        waiting.ops.push(op);
        waiting.wake()
    }

    /// The flush tick: wakes the writer if it has anything to do.
    pub(super) fn tick(&self) -> Pushed {
        if self.healthy() && lock(&self.touched).is_empty() {
            return Pushed::Awake;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Pushed::Closed;
        }
        waiting.tick = true;
        waiting.wake()
    }

    /// Everything, in order; from now on the writer has to be woken.
    pub(super) fn take(&self) -> Taken {
        let mut waiting = lock(&self.waiting);
        waiting.awake = false;
        Taken { ops: mem::take(&mut waiting.ops), tick: mem::take(&mut waiting.tick) }
    }

    /// No more is taken; whoever waits for a commit hears that.
    pub(super) fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.closed = true;
        waiting.ops.clear();
    }

    pub(super) fn closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    pub(super) fn touch(&self, id: SessionId, at: DateTime<Utc>) {
        lock(&self.touched).insert(id, at);
    }

    /// Operations that wait.
    pub(super) fn len(&self) -> usize {
        lock(&self.waiting).ops.len()
    }

    pub(super) fn take_touched(&self) -> Touched {
        mem::take(&mut lock(&self.touched))
    }

    /// After a failure: what was touched again meanwhile is newer.
    pub(super) fn put_back(&self, unwritten: Touched) {
        let mut touched = lock(&self.touched);
        for (id, at) in unwritten {
            touched.entry(id).or_insert(at);
        }
    }

    /// What the last write met, `None` if it went well. Returns what it was before.
    pub(super) fn set_error(&self, error: Option<String>) -> Option<String> {
        mem::replace(&mut lock(&self.error), error)
    }

    pub(super) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    pub(super) fn healthy(&self) -> bool {
        lock(&self.error).is_none()
    }

    /// Counts one more; how many there were.
    pub(super) fn count(counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Ordering::Relaxed)
    }
}

impl Waiting {
    fn wake(&mut self) -> Pushed {
        if mem::replace(&mut self.awake, true) { Pushed::Awake } else { Pushed::Wake }
    }
}

/// No code that holds one of these locks can leave what it guards half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
