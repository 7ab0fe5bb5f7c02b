//! Decides when the output of an idle session is discarded, all but its end. The ring is most of
//! what a session takes, and old output is rarely wanted: clients have it, and a server that comes
//! after this one goes on from the checkpoint.

use std::time::{Duration, Instant};

/// A session is idle after this time without output. The screen's checkpoint, without which nothing
/// is discarded, is made at about the same time.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// The longest time between two checks of an idle session of which something cannot be discarded
/// yet.
const CHECK_MAX: Duration = Duration::from_secs(60);
/// Less than this is not worth a message to the holder, in bytes.
const WORTH: u64 = 16 << 10;

/// The state of a session's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleInput {
    /// Bytes ever written.
    pub(super) head: u64,
    /// The first offset that the ring still has.
    pub(super) oldest: u64,
    /// Nobody needs anything before this offset.
    pub(super) unneeded: u64,
}

/// What to do now, and when to check again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdleDecision {
    /// Discard the output before this offset.
    pub(super) discard: Option<u64>,
    /// Check again after this time; `None`: once there is output.
    pub(super) again: Option<Duration>,
}

/// The output of one session between two checks.
#[derive(Debug)]
pub(super) struct IdleOutput {
    /// Bytes of output that an idle session keeps.
    keep: u64,
    head: u64,
    oldest: u64,
    /// When there was output last.
    since: Instant,
    /// Whether a check is due later.
    waits: bool,
    wait: Duration,
}

impl IdleOutput {
    /// The output of a session that keeps so many bytes when it is idle. A `restored` one is
    /// checked without new output.
    pub(super) fn new(keep: u64, restored: bool, now: Instant) -> Self {
        IdleOutput { keep, head: 0, oldest: 0, since: now, waits: restored, wait: IDLE_AFTER }
    }

    /// When to check first, if not after output.
    pub(super) fn first_check(&self) -> Option<Duration> {
        self.waits.then_some(IDLE_AFTER)
    }

    /// There was output. Returns when to check, unless that is known already.
    pub(super) fn heard_output(&mut self, now: Instant) -> Option<Duration> {
        self.since = now;
        self.wait = IDLE_AFTER;
        (!std::mem::replace(&mut self.waits, true)).then_some(IDLE_AFTER)
    }

    /// Checks whether the session is idle, and what can be discarded.
    pub(super) fn check(&mut self, now: Instant, input: IdleInput) -> IdleDecision {
        let decision = self.decide(now, input);
        self.waits = decision.again.is_some();
        decision
    }

    fn decide(&mut self, now: Instant, input: IdleInput) -> IdleDecision {
        let left = (self.since + IDLE_AFTER).saturating_duration_since(now);
        if !left.is_zero() {
            return IdleDecision { discard: None, again: Some(left) };
        }
        let wanted = input.head.saturating_sub(self.keep);
        if wanted < input.oldest.saturating_add(WORTH) {
            return IdleDecision { discard: None, again: None };
        }
        if (input.head, input.oldest) != (self.head, self.oldest) {
            // The holder discards a long ring in parts.
            (self.head, self.oldest, self.wait) = (input.head, input.oldest, IDLE_AFTER);
        }
        let to = wanted.min(input.unneeded);
        let discard = (to >= input.oldest.saturating_add(WORTH)).then_some(to);
        let again = Some(self.wait);
        self.wait = (self.wait * 2).min(CHECK_MAX);
        IdleDecision { discard, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: u64 = 64 << 10;
    const NOTHING: IdleDecision = IdleDecision { discard: None, again: None };

    fn after(seconds: u64, start: Instant) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_second_after_the_last_output_all_but_its_end_is_discarded() {
        let start = Instant::now();
        let mut idle = IdleOutput::new(KEEP, false, start);
        assert_eq!(idle.first_check(), None);
        assert_eq!(idle.heard_output(start), Some(IDLE_AFTER));
        let later = start + Duration::from_millis(400);
        assert_eq!(idle.heard_output(later), None, "it is checked anyway");
        let full = IdleInput { head: 1 << 20, oldest: 0, unneeded: 1 << 20 };
        let early = idle.check(after(1, start), full);
        assert_eq!(early.again, Some(Duration::from_millis(400)));
        let idle_now = idle.check(after(2, start), full);
        assert_eq!(idle_now.discard, Some((1 << 20) - KEEP));
        assert!(idle_now.again.is_some(), "whether the holder has done it");
        let oldest = (1 << 20) - KEEP;
        assert_eq!(idle.check(after(3, start), IdleInput { oldest, ..full }), NOTHING);
        assert_eq!(idle.heard_output(after(4, start)), Some(IDLE_AFTER));
    }

    #[test]
    fn what_somebody_needs_stays_and_is_asked_for_less_and_less_often() {
        let start = Instant::now();
        let mut idle = IdleOutput::new(KEEP, false, start);
        let lacks = IdleInput { head: 1 << 20, oldest: 0, unneeded: 10_000 };
        let mut waits = Vec::new();
        for seconds in 2..10 {
            let decision = idle.check(after(seconds, start), lacks);
            assert_eq!(decision.discard, None);
            waits.extend(decision.again.map(|again| again.as_secs()));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let half = IdleInput { unneeded: 1 << 19, ..lacks };
        assert_eq!(idle.check(after(99, start), half).discard, Some(1 << 19));
    }

    #[test]
    fn little_output_is_left_alone_and_what_was_there_before_is_checked() {
        let start = Instant::now();
        let mut idle = IdleOutput::new(KEEP, false, start);
        let little = IdleInput { head: KEEP + WORTH - 1, oldest: 0, unneeded: u64::MAX };
        assert_eq!(idle.check(after(2, start), little), NOTHING);
        let mut idle = IdleOutput::new(KEEP, true, start);
        assert_eq!(idle.first_check(), Some(IDLE_AFTER));
        assert_eq!(idle.heard_output(start), None, "it is checked anyway");
        let full = IdleInput { head: 1 << 20, oldest: 0, unneeded: 1 << 20 };
        assert!(idle.check(after(1, start), full).discard.is_some());
    }
}
