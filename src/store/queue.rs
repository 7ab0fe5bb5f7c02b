//! The queue of writes and the health of the store, shared by the handles and the writer.
//!
//! The queue is not the writer's mailbox: a slow disk grows no mailbox (at most one wake-up is in
//! flight), and a dropped message loses nothing.

use super::audit::AuditEntry;
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

/// Activity that is not written yet: the latest of each session.
pub(super) type Touched = HashMap<SessionId, DateTime<Utc>>;

/// Entries of the audit log that wait, some 2 MiB.
pub(super) const AUDITS_MAX: usize = 10_000;

/// One operation to write.
pub(super) enum Op {
    Save(Box<Change>),
    Commit { change: Box<Change>, on_failure: OnFailure, reply: oneshot::Sender<Committed> },
}

/// Says whether a commit is queued or dropped while the database is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    Forget,
    Queue,
}

/// The answer to a commit: whether it is written (true) or queued (false).
pub(super) type Committed = Result<bool, StoreError>;

/// The result of [`Queue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The caller must wake the writer.
    Wake,
    /// The writer is awake.
    Awake,
    /// The writer has stopped; the operation is dropped.
    Closed,
}

/// Everything that the writer takes from the queue at once.
pub(super) struct Taken {
    pub(super) ops: Vec<Op>,
    /// Set by the flush tick: activity is due, and failed writes are tried again.
    pub(super) tick: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    touched: Mutex<Touched>,
    audits: Mutex<Vec<AuditEntry>>,
    error: Mutex<Option<String>>,
    pub(super) transactions: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Entries of the audit log that were lost.
    pub(super) unaudited: AtomicU64,
    /// The number of changes that the writer has taken and could not write yet.
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
    /// Appends an operation.
    pub(super) fn push(&self, op: Op) -> Pushed {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Pushed::Closed;
        }
        waiting.ops.push(op);
        waiting.wake()
    }

    /// Wakes the writer at a flush tick, if it has anything to write.
    pub(super) fn tick(&self) -> Pushed {
        if self.healthy() && lock(&self.touched).is_empty() && lock(&self.audits).is_empty() {
            return Pushed::Awake;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Pushed::Closed;
        }
        waiting.tick = true;
        waiting.wake()
    }

    /// Takes everything, in order. From now on the next operation has to wake the writer.
    pub(super) fn take(&self) -> Taken {
        let mut waiting = lock(&self.waiting);
        waiting.awake = false;
        Taken { ops: mem::take(&mut waiting.ops), tick: mem::take(&mut waiting.tick) }
    }

    /// Closes the queue. Callers that wait for a commit get an error.
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

    /// The number of waiting operations.
    pub(super) fn len(&self) -> usize {
        lock(&self.waiting).ops.len()
    }

    pub(super) fn take_touched(&self) -> Touched {
        mem::take(&mut lock(&self.touched))
    }

    /// Adds an entry to the audit log, written with the next tick. While nothing can be written, the
    /// latest entries are lost beyond a bound.
    pub(super) fn audit(&self, entry: AuditEntry) {
        let mut audits = lock(&self.audits);
        if audits.len() < AUDITS_MAX {
            audits.push(entry);
        } else {
            Queue::count(&self.unaudited);
        }
    }

    pub(super) fn take_audits(&self) -> Vec<AuditEntry> {
        mem::take(&mut lock(&self.audits))
    }

    /// Puts entries back after a failed write, before those that came meanwhile.
    pub(super) fn put_back_audits(&self, mut unwritten: Vec<AuditEntry>) {
        let mut audits = lock(&self.audits);
        unwritten.append(&mut audits);
        *audits = unwritten;
    }

    /// Puts activity back after a failed write; newer activity wins.
    pub(super) fn put_back(&self, unwritten: Touched) {
        let mut touched = lock(&self.touched);
        for (id, at) in unwritten {
            touched.entry(id).or_insert(at);
        }
    }

    /// Records the error of the last write, or `None` after a success. Returns the error before it.
    pub(super) fn set_error(&self, error: Option<String>) -> Option<String> {
        mem::replace(&mut lock(&self.error), error)
    }

    pub(super) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    pub(super) fn healthy(&self) -> bool {
        lock(&self.error).is_none()
    }

    /// Increments a counter, and returns its old value.
    pub(super) fn count(counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Ordering::Relaxed)
    }
}

impl Waiting {
    fn wake(&mut self) -> Pushed {
        if mem::replace(&mut self.awake, true) { Pushed::Awake } else { Pushed::Wake }
    }
}

/// Locks, and ignores poisoning: no code that holds one of these locks leaves its data half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
