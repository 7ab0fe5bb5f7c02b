//! Makes the program wait while its output is not recorded: the ring's tail passes only what is
//! written, as long as the recorder makes progress.

use crate::holder::Holder;
use crate::id::SessionId;
use crate::ring::Reader;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One session's tail. It passes output once the session has released it and the recorder has
/// written it.
pub(super) struct TailGate {
    id: SessionId,
    ring: Arc<Reader>,
    holder: Holder,
    /// The offset up to which the output is written.
    written: AtomicU64,
    /// The offset up to which the session has released the output.
    released: AtomicU64,
    /// Whether everything written counts as released, because no client follows the output.
    free: AtomicBool,
    /// Set when the recorder has made no progress for too long: the tail no longer waits for it.
    given_up: AtomicBool,
    /// The moment since which the program waits for the recorder, and the offset written then.
    stalled: Mutex<Option<(Instant, u64)>>,
}

impl TailGate {
    /// Starts with nothing written.
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

    /// The offset up to which the session has released the output.
    pub(super) fn released(&self) -> u64 {
        self.released.load(SeqCst)
    }

    /// Releases everything before `offset`: the holder may overwrite it once it is written.
    pub(super) fn release(&self, offset: u64) {
        self.released.fetch_max(offset, SeqCst);
        self.advance();
    }

    /// Sets whether everything written counts as released.
    pub(super) fn set_free(&self, free: bool) {
        self.free.store(free, SeqCst);
    }

    /// Notes that everything before `offset` is written.
    pub(super) fn wrote(&self, offset: u64) {
        self.written.store(offset, SeqCst);
        self.given_up.store(false, SeqCst);
        if self.free.load(SeqCst) {
            self.released.fetch_max(offset, SeqCst);
        }
        self.advance();
    }

    /// Lets the program go on if it has waited for the recorder for longer than `limit`. The
    /// session calls this regularly while the ring is full.
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

    /// Moves the tail as far as the session and the recorder allow. It follows each change of
    /// `released`, `written` or `given_up`, so that of two concurrent changes the last one sees
    /// both.
    fn advance(&self) {
        let released = self.released();
        let given_up = self.given_up.load(SeqCst);
        let to = if given_up { released } else { released.min(self.written.load(SeqCst)) };
        if self.ring.advance_tail(to) {
            self.holder.resume(self.id);
        }
    }
}
