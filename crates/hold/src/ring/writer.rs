//! The holder's half of a ring. It must not panic, and checks every value in the server's page.

use super::error::RingError;
use super::layout::{
    HolderPage, IN_FLIGHT, INPUT_FREE, LEDGER, LEDGER_VERSION, NOBODY, UNHELD, key_words,
    ledger_word,
};
use super::map::{self, Map, Side};
use crate::exit::Exit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// The most bytes that are discarded at once: freeing these pages takes less than a millisecond,
/// for which all sessions wait.
const DISCARD_MAX: u64 = 8 << 20;

/// The requests that are due after a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether to write to the eventfd.
    pub wake: bool,
    /// Whether to send a notice.
    pub watch: bool,
}

/// The most bytes of one read(2). The kernel returns about 4 KiB of a terminal at once, whatever the
/// room.
pub const READ_MAX: u64 = 8 << 10;

/// The progress of a client's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputProgress {
    /// The client's entry in the ledger.
    pub slot: usize,
    /// The client, if the entry is given to it now.
    pub assigned: Option<[u8; 16]>,
    /// Bytes queued for the program.
    pub accepted: u64,
    /// End of the furthest message.
    pub seen: u64,
    /// Bytes free in the input queue.
    pub free: u64,
}

/// The holder's view of one session's ring.
#[derive(Debug)]
pub struct Writer {
    map: Map,
    base: u64,
    head: u64,
    /// The last valid tail.
    tail: u64,
    /// The last checkpoint's offset; `None` if checkpoints do not hold the tail.
    checkpoint: Option<u64>,
}

impl Writer {
    /// Creates a ring of `capacity` bytes, and returns its descriptor, too. Its first byte has the
    /// offset `base`.
    ///
    /// # Errors
    /// The capacity is not allowed, or the kernel refuses memory or descriptors.
    pub fn create(capacity: u64, base: u64) -> Result<(OwnedFd, Self), RingError> {
        let (fd, map) = map::create(capacity)?;
        map.server().wake_at.store(NOBODY, SeqCst);
        map.server().watch_at.store(NOBODY, SeqCst);
        map.server().tail.store(base, SeqCst);
        map.holder().checkpoint.store(UNHELD, SeqCst);
        map.holder().base.store(base, SeqCst);
        map.holder().head.store(base, Release);
        Ok((fd, Writer { map, base, head: base, tail: base, checkpoint: None }))
    }

    /// The ring that an earlier holder has written, from where that one was.
    ///
    /// # Errors
    /// The descriptor is not a ring, or cannot be mapped.
    pub fn reopen(fd: BorrowedFd<'_>) -> Result<Self, RingError> {
        let map = map::open(fd, Side::Holder)?;
        let words = map.holder();
        let (base, head) = (words.base.load(Relaxed), words.head.load(Relaxed));
        let checkpoint = Some(words.checkpoint.load(Relaxed)).filter(|offset| *offset != UNHELD);
        // Whether it is full is found out anew.
        words.blocked.store(0, SeqCst);
        Ok(Writer { map, base, head, tail: base, checkpoint })
    }

    /// Bytes of output so far.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Notes that output ends at `head`, because the holder before this one had read so far.
    pub fn complete(&mut self, head: u64) {
        self.head = head;
        self.words().head.store(head, Release);
    }

    /// Bytes that may be written now without overwriting anything from the tail on.
    pub fn room(&mut self) -> u64 {
        let tail = self.map.server().tail.load(SeqCst);
        // A tail never goes back and never passes head; any other value is a mistake of the server.
        if (self.tail..=self.head).contains(&tail) {
            self.tail = tail;
        }
        let tail = self.checkpoint.map_or(self.tail, |checkpoint| checkpoint.min(self.tail));
        let used = self.head.saturating_sub(tail);
        self.readable().saturating_sub(used)
    }

    /// Whether a checkpoint at `offset` is valid: not before the last one, not beyond head, and
    /// with all output after it still in the ring.
    #[must_use]
    pub fn may_checkpoint(&self, offset: u64) -> bool {
        let last = self.checkpoint.unwrap_or(self.base);
        (last..=self.head).contains(&offset) && self.head.saturating_sub(offset) <= self.readable()
    }

    /// Keeps the tail from passing `offset` until the next call. An invalid offset changes nothing.
    pub fn hold_tail(&mut self, offset: u64) {
        if self.may_checkpoint(offset) {
            self.checkpoint = Some(offset);
            // The caller checks the tail next, as the server checks this word after it has moved
            // the tail: one of them sees that there is room again.
            self.words().checkpoint.store(offset, SeqCst);
            fence(SeqCst);
        }
    }

    /// Discards output before `to`, as far as neither the tail nor a checkpoint needs it, and gives
    /// its pages back. `fd` is the ring's descriptor. A long ring takes several calls.
    ///
    /// # Errors
    /// The kernel refuses to free the pages: the output is gone, and its memory is not.
    pub fn discard(&mut self, fd: BorrowedFd<'_>, to: u64) -> nix::Result<()> {
        // Updates the tail.
        let _ = self.room();
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        let last = self.words().discarded.load(Relaxed);
        // Pages of output that was overwritten hold newer output.
        let oldest = self.head.saturating_sub(self.map.capacity());
        let page = self.map.page_of(oldest.max(self.base).max(last));
        let next = page.saturating_add(self.map.page() as u64);
        let from = if page < oldest { next } else { page };
        let to = to.min(checkpoint).min(self.tail).min(from.saturating_add(DISCARD_MAX));
        let to = self.map.page_of(to);
        if to <= from {
            return Ok(());
        }
        self.words().discarded.store(to, SeqCst);
        // A reader that sees a freed page's zeros sees this word, too.
        fence(SeqCst);
        self.map.punch(fd, from, to)
    }

    /// The memory for the next read(2), at most `room` and [`READ_MAX`]: what is left of a page,
    /// or more if `eager`.
    ///
    /// Its pages exist. Otherwise the kernel would make them while it copies, and a process that is
    /// killed meanwhile (by want of memory, for example) may not get them: the bytes are then taken
    /// from the terminal, and nowhere.
    pub fn read_buffer(&mut self, room: u64, eager: bool) -> &mut [u8] {
        let page = self.map.page();
        let rest = page.saturating_sub(self.head as usize & page.wrapping_sub(1)) as u64;
        let buffer = self.buffer(room.min(if eager { READ_MAX } else { rest }));
        let last = buffer.len().saturating_sub(1);
        // No two of these are further apart than a page.
        for at in (0..last).step_by(page.max(1)).chain([last]) {
            if let Some(byte) = buffer.get_mut(at) {
                // SAFETY: a byte of ours. It is volatile because nobody reads it.
                unsafe { std::ptr::write_volatile(byte, 0) };
            }
        }
        buffer
    }

    /// The memory for the next bytes, at most `room` and [`IN_FLIGHT`].
    pub fn buffer(&mut self, room: u64) -> &mut [u8] {
        let length = usize::try_from(room.min(IN_FLIGHT)).unwrap_or(0);
        // SAFETY: from `data_ptr` on `capacity` bytes are mapped, which is more than
        // IN_FLIGHT; the borrow of `self` keeps the mapping, and nobody else writes here.
        // Readers of the other process know that they read what may change.
        unsafe { std::slice::from_raw_parts_mut(self.map.data_ptr(self.head), length) }
    }

    /// Writes text that no program has printed, before any output. Text that does not fit is left
    /// out.
    pub fn preface(&mut self, bytes: &[u8]) {
        let room = self.room().min(bytes.len() as u64);
        let buffer = self.buffer(room);
        let count = buffer.len();
        buffer.copy_from_slice(bytes.get(..count).unwrap_or_default());
        self.publish(count as u64);
    }

    /// Makes `count` bytes of the buffer visible to readers.
    pub fn publish(&mut self, count: u64) {
        self.head = self.head.saturating_add(count);
        self.words().head.store(self.head, Release);
    }

    /// The requests for the present head. Each is answered once.
    pub fn due(&mut self) -> Due {
        // Pairs with the fence between a request and the load of head that follows it.
        fence(SeqCst);
        let server = self.map.server();
        Due { wake: taken(&server.wake_at, self.head), watch: taken(&server.watch_at, self.head) }
    }

    /// Whether anybody waits at all, for changes that have no offset.
    pub fn anybody(&mut self) -> bool {
        fence(SeqCst);
        self.map.server().wake_at.swap(NOBODY, SeqCst) != NOBODY
    }

    /// Notes that the PTY is not read any more. Returns false if the server has made room
    /// meanwhile; the flag is then cleared again.
    pub fn block(&mut self) -> bool {
        self.words().blocked.store(1, SeqCst);
        fence(SeqCst);
        if self.room() == 0 {
            return true;
        }
        self.unblock();
        false
    }

    /// Notes that the PTY is read again.
    pub fn unblock(&mut self) {
        self.words().blocked.store(0, SeqCst);
    }

    /// Whether a quarter of the ring is free, so that reading again is worth it.
    pub fn resumable(&mut self) -> bool {
        self.room() >= self.map.capacity() / 4
    }

    /// Notes that the present head is the final one.
    pub fn end(&mut self, exit: Exit) {
        self.words().ended.store(exit.to_word(), Release);
    }

    /// The leader's exit, if the head is the final one.
    #[must_use]
    pub fn ended(&self) -> Option<Exit> {
        Exit::from_word(self.words().ended.load(Relaxed))
    }

    /// The columns and rows that were stamped last.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        let last = self.words().resize(self.resize_count().checked_sub(1)?)?;
        let size = last.size.load(Relaxed);
        Some(((size >> 16) as u16, size as u16))
    }

    /// The number of resizes so far.
    #[must_use]
    pub fn resize_count(&self) -> u64 {
        self.words().resize_count.load(Relaxed)
    }

    /// Notes that the output from here on is for another size.
    pub fn stamp_resize(&mut self, cols: u16, rows: u16) {
        let words = self.words();
        let count = self.resize_count();
        if let Some(entry) = words.resize(count) {
            entry.offset.store(self.head, Release);
            entry.size.store(u64::from(cols) << 16 | u64::from(rows), Release);
        }
        words.resize_count.store(count.wrapping_add(1), Release);
    }

    /// Publishes the room in the input queue.
    pub fn set_input_free(&mut self, free: u64) {
        self.words().input_free.store(free, Release);
    }

    /// The stores that publish the progress of a client's input and the room in the input queue,
    /// in their order. A reader that sees a refusal in the ledger looks at the room next, and must
    /// not see the old value; so the room is first.
    pub fn input_stores(&self, input: &InputProgress, mut each: impl FnMut(usize, u64)) {
        let entry = ledger_word(input.slot);
        let word = |index: usize| entry.saturating_add(index);
        let version = self.words().ledger_version.load(Relaxed);
        each(INPUT_FREE, input.free);
        if let Some(key) = input.assigned {
            each(LEDGER_VERSION, version.wrapping_add(1));
            let [low, high] = key_words(key);
            each(word(0), low);
            each(word(1), high);
        }
        each(word(2), input.accepted);
        each(word(3), input.seen);
        if input.assigned.is_some() {
            each(LEDGER_VERSION, version.wrapping_add(2));
        }
    }

    /// Stores a word of [`Writer::input_stores`]. Stores are seen in the order of the calls.
    pub fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.map.words().get(word) {
            word.store(value, Release);
        }
    }

    /// The clients whose input is counted, with what is accepted and seen of it, by slot. An
    /// entry that nobody has ever had ends the list.
    pub fn ledger(&self) -> impl Iterator<Item = ([u8; 16], u64, u64)> {
        let entries = self.words().ledger.iter().map(|entry| {
            let [low, high] = &entry.key;
            let key = u128::from(high.load(Relaxed)) << 64 | u128::from(low.load(Relaxed));
            (key.to_ne_bytes(), entry.accepted.load(Relaxed), entry.seen.load(Relaxed))
        });
        entries.take_while(|(key, _, _)| *key != [0; 16]).take(LEDGER)
    }

    /// Writes the server's page, as a server that has gone wrong may do it.
    #[cfg(test)]
    pub(crate) fn set_server_page(&self, [tail, wake_at, watch_at]: [u64; 3]) {
        let server = self.map.server();
        server.tail.store(tail, SeqCst);
        server.wake_at.store(wake_at, SeqCst);
        server.watch_at.store(watch_at, SeqCst);
    }

    /// Bytes behind head that readers can count on.
    fn readable(&self) -> u64 {
        self.map.capacity().saturating_sub(IN_FLIGHT)
    }

    pub(super) fn words(&self) -> &HolderPage {
        self.map.holder()
    }
}

/// Cancels a request if `head` has reached it. Returns whether it has.
fn taken(request: &AtomicU64, head: u64) -> bool {
    head >= request.load(SeqCst) && request.swap(NOBODY, SeqCst) != NOBODY
}
