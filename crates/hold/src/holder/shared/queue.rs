//! The input that a program has not read yet, in shared memory: a ring of bytes between two
//! positions.

#![allow(unsafe_code)]

use super::layout::{PAGE, QueueWords};
use super::map::{QUEUE_AT, SharedState};
use super::slot::Slot;
use crate::holder::ledger::QUEUE;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// One session's queue.
#[derive(Debug)]
pub(in crate::holder) struct Queue {
    slot: Slot,
    /// The furthest byte of its memory that was used since memory was given back last.
    used: usize,
}

impl Queue {
    pub(in crate::holder) fn of(slot: &Slot) -> Self {
        Queue { slot: slot.clone(), used: QUEUE }
    }

    fn words(&self) -> Option<&QueueWords> {
        self.slot.page().map(|page| &page.queue)
    }

    /// The position of the first byte that is not written yet.
    pub(in crate::holder) fn start(&self) -> u64 {
        self.words().map_or(0, |words| words.start.load(Relaxed))
    }

    /// The position behind the last accepted byte.
    pub(in crate::holder) fn end(&self) -> u64 {
        self.words().map_or(0, |words| words.end.load(Relaxed))
    }

    pub(in crate::holder) fn len(&self) -> usize {
        usize::try_from(self.end().saturating_sub(self.start())).unwrap_or(QUEUE)
    }

    pub(in crate::holder) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies as many of these bytes behind the end as there is room for, and returns their number.
    /// They are accepted once the end's word says so.
    pub(in crate::holder) fn stage(&mut self, bytes: &[u8]) -> usize {
        let room = QUEUE.saturating_sub(self.len());
        let bytes = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        let at = self.index(self.end());
        let (first, second) = bytes.split_at(bytes.len().min(QUEUE.saturating_sub(at)));
        self.copy(at, first);
        self.copy(0, second);
        bytes.len()
    }

    fn copy(&mut self, at: usize, bytes: &[u8]) {
        let Some(target) = self.memory(at, bytes.len()) else { return };
        // SAFETY: the target is memory of this queue, as much as is copied; nobody else writes it,
        // and `bytes` are not in it, because they are from a message.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        self.used = self.used.max(at.saturating_add(bytes.len()));
    }

    /// The word of the end, for a commit.
    pub(in crate::holder) fn end_word(&self) -> Option<&AtomicU64> {
        self.words().map(|words| &words.end)
    }

    pub(in crate::holder) fn shared(&self) -> &Arc<SharedState> {
        self.slot.shared()
    }

    /// The next bytes to be written, as many as are in one piece.
    pub(in crate::holder) fn front(&self) -> &[u8] {
        let at = self.index(self.start());
        let length = self.len().min(QUEUE.saturating_sub(at));
        match self.memory(at, length) {
            // SAFETY: memory of this queue that is written only behind its end.
            Some(memory) => unsafe { std::slice::from_raw_parts(memory, length) },
            None => &[],
        }
    }

    /// Notes that everything before `start` is written.
    pub(in crate::holder) fn written_to(&mut self, start: u64) {
        if let Some(words) = self.words() {
            words.start.store(start.min(words.end.load(Relaxed)), Release);
        }
        self.tidy();
    }

    /// Drops what is not written.
    pub(in crate::holder) fn clear(&mut self) {
        self.written_to(u64::MAX);
    }

    /// An empty queue begins anew where its memory begins, so that keystrokes do not touch all of
    /// it. The memory that a paste has needed is given back.
    fn tidy(&mut self) {
        let Some(words) = self.slot.page().map(|page| &page.queue).filter(|_| self.is_empty())
        else {
            return;
        };
        words.origin.store(words.end.load(Relaxed), Release);
        if self.used > PAGE {
            let rest = QUEUE.saturating_sub(PAGE);
            self.shared().punch(self.slot.index(), QUEUE_AT.saturating_add(PAGE), rest);
            self.used = 0;
        }
    }

    /// Where a position's byte is in the queue's memory.
    fn index(&self, position: u64) -> usize {
        let origin = self.words().map_or(0, |words| words.origin.load(Relaxed));
        // The capacity is a power of two, so the mask is the remainder.
        position.saturating_sub(origin) as usize & QUEUE.wrapping_sub(1)
    }

    fn memory(&self, at: usize, length: usize) -> Option<*mut u8> {
        if at.saturating_add(length) > QUEUE {
            return None;
        }
        self.shared().bytes(self.slot.index(), QUEUE_AT.saturating_add(at), length)
    }
}
