//! The server's half of a ring.

use super::error::RingError;
use super::layout::{HolderPage, IN_FLIGHT, LEDGER, NOBODY, RESIZES, UNHELD, key_words};
use super::map::{self, Map, Side};
use crate::exit::Exit;
use crate::id::ClientKey;
use bytes::BytesMut;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

/// The wanted bytes are no longer in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overtaken by the ring")]
pub struct Overtaken;

/// The progress of one client's input, in bytes since its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Bytes queued for the program, which the client never sends again. It continues from here.
    pub accepted: u64,
    /// End of the furthest message that reached the holder. Bytes that were sent and seen but are
    /// not accepted were refused, because the queue was full or there was a gap. Send them again
    /// from `accepted` whenever [`Reader::input_free`] has room. Check that at each wake-up, even
    /// if `accepted` has not moved, because another client may have used the room.
    pub seen: u64,
}

/// A change of the terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Bytes of output read before it.
    pub offset: u64,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// The server's view of one session's ring. All methods are wait-free and may be called from any
/// thread.
#[derive(Debug)]
pub struct Reader {
    map: Map,
}

impl Reader {
    /// Maps a ring that came from the holder, after checking it, and cancels the wake-ups that an
    /// earlier server has requested.
    ///
    /// # Errors
    /// The descriptor is not a ring, or cannot be mapped.
    pub fn open(fd: impl AsFd) -> Result<Self, RingError> {
        let map = map::open(fd.as_fd(), Side::Server)?;
        map.server().wake_at.store(NOBODY, SeqCst);
        map.server().watch_at.store(NOBODY, SeqCst);
        Ok(Reader { map })
    }

    /// The ring's capacity in bytes, of which readers can use [`IN_FLIGHT`] less.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.map.capacity()
    }

    /// Bytes of output so far.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.words().head.load(Acquire)
    }

    /// The offset of the first byte that was ever written to this ring.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.words().base.load(Relaxed)
    }

    /// The first offset whose output is certainly intact now.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.head().saturating_sub(self.readable()).max(self.first())
    }

    /// The first offset whose output was not discarded, whether or not it was overwritten.
    fn first(&self) -> u64 {
        self.base().max(self.words().discarded.load(Acquire))
    }

    /// The offset before which everything is acknowledged, so that nobody waits for it.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.map.server().tail.load(Acquire)
    }

    /// The last checkpoint's offset (0 before the first one); `None` if checkpoints do not hold the
    /// tail.
    #[must_use]
    pub fn checkpoint(&self) -> Option<u64> {
        Some(self.words().checkpoint.load(SeqCst)).filter(|offset| *offset != UNHELD)
    }

    /// The offset before which everything may be overwritten: the smaller of [`Reader::tail`] and
    /// [`Reader::checkpoint`].
    #[must_use]
    pub fn effective_tail(&self) -> u64 {
        self.tail().min(self.checkpoint().unwrap_or(u64::MAX))
    }

    /// Lets the holder overwrite everything before `to`, unless a checkpoint holds it. The tail
    /// never passes head and never goes back. Returns true if the holder has stopped reading the
    /// PTY and there is room again, so that the caller has to call `Holder::resume`.
    #[must_use]
    pub fn advance_tail(&self, to: u64) -> bool {
        let tail = to.min(self.head());
        let before = self.map.server().tail.fetch_max(tail, SeqCst);
        // Pairs with the holder's fences between its store of `blocked` or `checkpoint` and its
        // load of the tail.
        fence(SeqCst);
        let tail = tail.max(before).min(self.checkpoint().unwrap_or(u64::MAX));
        self.blocked() && self.resumable(self.head(), tail)
    }

    /// Whether the holder does not read the PTY because the ring is full.
    #[must_use]
    pub fn blocked(&self) -> bool {
        self.words().blocked.load(SeqCst) != 0
    }

    /// Appends up to `max` bytes from `offset` to `out` and returns their number, which is 0 at
    /// head.
    ///
    /// # Errors
    /// [`Overtaken`]: the bytes at `offset` are gone; nothing was appended.
    pub fn read(&self, offset: u64, max: usize, out: &mut BytesMut) -> Result<usize, Overtaken> {
        let head = self.head();
        let Some(available) = head.checked_sub(offset) else { return Ok(0) };
        if available > self.readable() || offset < self.first() {
            return Err(Overtaken);
        }
        let count = usize::try_from(available).unwrap_or(max).min(max);
        if count == 0 {
            return Ok(0);
        }
        out.reserve(count);
        let spare = out.spare_capacity_mut();
        // SAFETY: `count` is at most the ring's capacity, which is mapped from `data_ptr` on,
        // and `reserve` made as much room. The holder may overwrite the source meanwhile:
        // the bytes are of no meaning to anybody until the check below has shown that it
        // did not.
        unsafe {
            let source = self.map.data_ptr(offset);
            std::ptr::copy_nonoverlapping(source, spare.as_mut_ptr().cast::<u8>(), count);
        }
        // The copy comes before these loads. The holder stores `discarded` before it frees a page.
        fence(Acquire);
        let head = self.words().head.load(Relaxed);
        let discarded = self.words().discarded.load(Relaxed);
        if head.saturating_sub(offset) > self.readable() || offset < discarded {
            return Err(Overtaken);
        }
        // SAFETY: `count` bytes behind the length were initialized by the copy.
        unsafe { out.set_len(out.len().saturating_add(count)) };
        Ok(count)
    }

    /// Requests one write to the session's eventfd once head has reached `at`, or the input queue,
    /// the size or the end changes. It serves all waiters at once and is then cancelled. The caller
    /// has to check head again afterwards, because head may have moved before the request.
    pub fn request_wake(&self, at: u64) {
        self.map.server().wake_at.fetch_min(at, SeqCst);
        fence(SeqCst);
    }

    /// Requests one `Notice::Output` once head has reached `at`. The caller has to check head again
    /// afterwards.
    pub fn request_watch(&self, at: u64) {
        self.map.server().watch_at.fetch_min(at, SeqCst);
        fence(SeqCst);
    }

    /// The leader's exit, once all its output is in the ring; `None` before.
    #[must_use]
    pub fn ended(&self) -> Option<Exit> {
        Exit::from_word(self.words().ended.load(Acquire))
    }

    /// The progress of this client's input; `None` if the holder has seen none, or has forgotten
    /// the client because there are more than 64.
    #[must_use]
    pub fn input(&self, key: ClientKey) -> Option<Input> {
        let wanted = key_words(key.to_bytes());
        let words = self.words();
        // The version is odd for nanoseconds only. A holder that died in between never makes it
        // even again, hence the bound.
        for _ in 0..LEDGER_TRIES {
            let version = words.ledger_version.load(Acquire);
            if version & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let found = words.ledger.iter().find(|entry| {
                let [low, high] = &entry.key;
                [low.load(Relaxed), high.load(Relaxed)] == wanted
            });
            let found = found.map(|entry| Input {
                // Load `seen` first: the holder stores it last, so it never promises more than
                // `accepted` shows.
                seen: entry.seen.load(Acquire),
                accepted: entry.accepted.load(Acquire),
            });
            fence(Acquire);
            if words.ledger_version.load(Relaxed) == version {
                return found;
            }
        }
        None
    }

    /// Bytes free in the input queue.
    #[must_use]
    pub fn input_free(&self) -> u64 {
        self.words().input_free.load(Acquire)
    }

    /// The number of resizes so far.
    #[must_use]
    pub fn resize_count(&self) -> u64 {
        self.words().resize_count.load(Acquire)
    }

    /// The terminal's columns and rows, as the holder has set them last; `None` before that.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        let last = self.resizes_since(self.resize_count().saturating_sub(1)).pop()?;
        Some((last.cols, last.rows))
    }

    /// The resizes from number `count` on, oldest first, as far as the log reaches, which is the
    /// last 111.
    #[must_use]
    pub fn resizes_since(&self, count: u64) -> Vec<Resize> {
        self.logged(count, self.resize_count())
    }

    /// All resizes from number `count` on, oldest first; `None` if one of them is no longer in the
    /// log, see [`Reader::resizes_since`].
    #[must_use]
    pub fn all_resizes_since(&self, count: u64) -> Option<Vec<Resize>> {
        let now = self.resize_count();
        let resizes = self.logged(count, now);
        (resizes.len() as u64 == now.saturating_sub(count)).then_some(resizes)
    }

    /// The resizes from number `count` to `now` that are still kept.
    fn logged(&self, count: u64, now: u64) -> Vec<Resize> {
        let words = self.words();
        let first = count.max(now.saturating_sub(RESIZES as u64));
        let mut resizes = Vec::new();
        for number in first..now {
            let Some(entry) = words.resize(number) else { continue };
            let offset = entry.offset.load(Relaxed);
            let size = entry.size.load(Relaxed);
            fence(Acquire);
            // The holder counts a resize after it has written it, and overwrites a slot only once
            // the log is full: all slots but one are certainly whole.
            if self.words().resize_count.load(Relaxed).saturating_sub(number) >= RESIZES as u64 {
                continue;
            }
            resizes.push(Resize { offset, cols: (size >> 16) as u16, rows: size as u16 });
        }
        resizes
    }

    /// Gives back the memory that reading has mapped: the output stays in the ring, and counts once
    /// instead of once for each process.
    pub fn let_go(&self) {
        self.map.let_go();
    }

    /// Bytes behind head that are certainly intact.
    fn readable(&self) -> u64 {
        self.capacity().saturating_sub(IN_FLIGHT)
    }

    fn resumable(&self, head: u64, tail: u64) -> bool {
        let used = head.saturating_sub(tail);
        self.readable().saturating_sub(used) >= self.capacity() / 4
    }

    fn words(&self) -> &HolderPage {
        self.map.holder()
    }
}

/// More attempts than any holder needs to finish an entry.
const LEDGER_TRIES: usize = 10_000;

const _: () = assert!(LEDGER > 0 && RESIZES > 1);
