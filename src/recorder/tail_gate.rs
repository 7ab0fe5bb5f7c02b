//! How the recorder holds a program back: the ring's tail passes only what is written, for as
//! long as writing makes progress.

use crate::holder::Holder;
use crate::id::SessionId;
use crate::ring::Reader;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One session's tail, between those who let it go and the recorder.
pub(super) struct TailGate {
    id: SessionId,
    ring: Arc<Reader>,
    holder: Holder,
    /// All before it is written.
    written: AtomicU64,
    /// All before it may go, if it is written.
    wanted: AtomicU64,
    /// Whatever is written may go.
    runs: AtomicBool,
    /// The recorder has made no progress for too long.
    given_up: AtomicBool,
    /// Since when the program waits for the recorder, which had come so far.
    stalled: Mutex<Option<(Instant, u64)>>,
}

impl TailGate {
    /// Nothing is written yet.
    pub(super) fn new(id: SessionId, ring: Arc<Reader>, holder: Holder) -> Self {
        TailGate {
            id,
            wanted: AtomicU64::new(ring.tail()),
            ring,
            holder,
            written: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            stalled: Mutex::new(None),
        }
    }

    /// Everything before this offset has been let go.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(SeqCst)
    }

    /// Everything before `offset` may be overwritten, once it is written.
    pub(super) fn release(&self, offset: u64) {
        self.wanted.fetch_max(offset, SeqCst);
        self.advance();
    }

    /// Whether whatever is written may go at once.
    pub(super) fn let_run(&self, runs: bool) {
        self.runs.store(runs, SeqCst);
    }

    /// Everything before `offset` is written.
    pub(super) fn wrote(&self, offset: u64) {
        self.written.store(offset, SeqCst);
        self.given_up.store(false, SeqCst);
        if self.runs.load(SeqCst) {
            self.wanted.fetch_max(offset, SeqCst);
        }
        self.advance();
    }

    /// Looks whether the program has waited for the recorder for longer than `limit`, and
    /// lets it run then. To be called now and then while the ring is blocked.
    pub(super) fn mind(&self, now: Instant, limit: Duration) {
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.written.load(SeqCst);
        if !self.ring.blocked() || self.wanted() <= written {
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

    /// Whoever changes one of the words looks at both afterwards: nothing stays behind.
    fn advance(&self) {
        let wanted = self.wanted();
        let given_up = self.given_up.load(SeqCst);
        let to = if given_up { wanted } else { wanted.min(self.written.load(SeqCst)) };
        if self.ring.advance_tail(to) {
            self.holder.resume(self.id);
        }
    }
}
