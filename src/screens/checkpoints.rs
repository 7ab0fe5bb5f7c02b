//! When a screen leaves a checkpoint with the holder.

use crate::holder::CheckpointMeta;
use std::time::{Duration, Instant};

/// The pause between a failed checkpoint and the next: an immediate retry would meet the same
/// shortage of memory or descriptors.
const RETRY: Duration = Duration::from_millis(500);

/// A checkpoint on its way to the holder.
pub(super) type Checkpoint = (CheckpointMeta, Vec<u8>);

/// Where a screen's last checkpoint was made, and whether the holder has it.
#[derive(Debug)]
pub(super) struct Checkpoints {
    offset: u64,
    resizes: u64,
    /// Whether the last checkpoint is on its way to the holder.
    in_flight: bool,
    /// When the last checkpoint failed, if it did: it is made again after [`RETRY`].
    failed: Option<Instant>,
}

impl Checkpoints {
    /// Starts where the holder already has the screen, as of this point of the output.
    pub(super) fn starting_at(offset: u64, resizes: u64) -> Self {
        Checkpoints { offset, resizes, in_flight: false, failed: None }
    }

    /// Whether a checkpoint is due. `capacity` is the ring's, in bytes. The ring's tail does not
    /// pass the last checkpoint, so one is due early enough that a flood need not wait for it. An
    /// open screen that is idle is due one, too.
    pub(super) fn is_time(
        &self,
        now: Instant,
        offset: u64,
        capacity: u64,
        idle_and_open: bool,
    ) -> bool {
        let due = offset - self.offset >= capacity / 4 || self.has_failed();
        let waits =
            self.in_flight || self.failed.is_some_and(|since| now.duration_since(since) < RETRY);
        !waits && (due || idle_and_open)
    }

    /// Whether the holder has the screen as of this point.
    pub(super) fn has(&self, offset: u64, resizes: u64) -> bool {
        (self.offset, self.resizes) == (offset, resizes) && !self.has_failed()
    }

    /// Whether the last checkpoint failed, so that it has to be made again.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Notes that a checkpoint was sent to the holder.
    pub(super) fn sent(&mut self, offset: u64, resizes: u64) {
        *self = Checkpoints { offset, resizes, in_flight: true, failed: None };
    }

    /// Notes that a checkpoint could not be made.
    pub(super) fn failed_at(&mut self, now: Instant) {
        self.failed = Some(now);
    }

    /// Notes that the holder has taken the checkpoint in flight, or never will. In the latter case
    /// it is made again: the program may wait for it and print nothing that would make another one
    /// due.
    pub(super) fn finished(&mut self, taken: bool, now: Instant) {
        self.in_flight = false;
        self.failed = (!taken).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_before_the_ring_is_full_and_again_after_a_failure() {
        let now = Instant::now();
        let mut last = Checkpoints::starting_at(1000, 0);
        assert!(!last.is_time(now, 1024, 100, false));
        assert!(last.is_time(now, 1025, 100, false), "a quarter of the ring");
        assert!(last.is_time(now, 1000, 100, true), "an idle screen");
        last.sent(1025, 1);
        assert!(last.has(1025, 1));
        assert!(!last.is_time(now, 2000, 100, true), "one is in flight");
        last.finished(false, now);
        assert!(!last.has(1025, 1));
        assert!(!last.is_time(now, 2000, 100, true), "too soon");
        assert!(last.is_time(now + RETRY, 1025, 100, false));
    }
}
