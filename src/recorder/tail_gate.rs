//! Holds the program back while its output is not recorded: the ring's tail passes only what is
//! written, for as long as writing makes progress.

use crate::holder::Holder;
use crate::id::SessionId;
use crate::ring::Reader;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One session's tail, which moves on once both the session releases it and the recorder has
/// written the output.
pub(super) struct TailGate {
    id: SessionId,
    ring: Arc<Reader>,
    holder: Holder,
    /// All output before it is written.
    written: AtomicU64,
    /// All output before it is released by the session.
    released: AtomicU64,
    /// Whether all that is written counts as released, because no client follows the output.
    free: AtomicBool,
    /// Set when the recorder makes no progress for too long: the tail no longer waits for it.
    given_up: AtomicBool,
    /// Since when the program waits for the recorder, and how much was written then.
    stalled: Mutex<Option<(Instant, u64)>>,
}

impl TailGate {
    /// Nothing is written yet.
    pub(super) fn new(id: SessionId, ring: Arc<Reader>, holder: Holder) -> Self {
        TailGate {
            id,
            released: AtomicU64::new(ring.tail()),
            ring,
            holder,
            written: AtomicU64::new(0),
            free: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            stalled: Mutex::new(None),
        }
    }

    /// The session has released everything before this offset.
    pub(super) fn released(&self) -> u64 {
        self.released.load(SeqCst)
    }

    /// Everything before `offset` may be overwritten, once it is written.
    pub(super) fn release(&self, offset: u64) {
        self.released.fetch_max(offset, SeqCst);
        self.advance();
    }

    /// Whether all that is written counts as released.
    pub(super) fn set_free(&self, free: bool) {
        self.free.store(free, SeqCst);
    }

    /// Everything before `offset` is written.
    pub(super) fn wrote(&self, offset: u64) {
        self.written.store(offset, SeqCst);
        self.given_up.store(false, SeqCst);
        if self.free.load(SeqCst) {
            self.released.fetch_max(offset, SeqCst);
        }
        self.advance();
    }

    /// Lets the program run on if it has waited for the recorder for longer than `limit`. To
    /// be called now and then while the ring is blocked.
    pub(super) fn check_stall(&self, now: Instant, limit: Duration) {
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.written.load(SeqCst);
        if !self.ring.blocked() || self.released() <= written {
            *stalled = None;
            return;
        }
        match *stalled {
            Some((since, then)) if then == written => {
                if now.duration_since(since) >= limit {
                    *stalled = None;
                    self.given_up.store(true, SeqCst);
                    self.advance();
                }
            }
            _ => *stalled = Some((now, written)),
        }
    }

    /// Each change of `released`, `written` or `given_up` is followed by this, so that the
    /// last of two concurrent changes moves the tail as far as both allow.
    fn advance(&self) {
        let released = self.released();
        let given_up = self.given_up.load(SeqCst);
        let to = if given_up { released } else { released.min(self.written.load(SeqCst)) };
        if self.ring.advance_tail(to) {
            self.holder.resume(self.id);
        }
    }
}
