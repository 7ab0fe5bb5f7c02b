//! When a screen is updated before its tick, because the program may have asked something.

/// Updates that may come before their tick. Each costs a notice from the holder; output
/// without long pauses uses them up.
const EARLY_MAX: u8 = 8;
/// This many updates in a row without new output give one early update back.
const QUIET_UPDATES: u8 = 6;
/// The most output that is searched for a question, in bytes: programs ask when they start,
/// or when they redraw.
const QUESTION_MAX: u64 = 4 << 10;

/// The number of early updates that a session has left.
#[derive(Debug)]
pub(super) struct EarlyUpdates {
    left: u8,
    /// Updates in a row that have found nothing new.
    quiet: u8,
}

impl EarlyUpdates {
    pub(super) fn new() -> Self {
        EarlyUpdates { left: EARLY_MAX, quiet: 0 }
    }

    pub(super) fn any_left(&self) -> bool {
        self.left > 0
    }

    /// Uses up one early update for `new` bytes of output. Returns how many of them may contain a
    /// question, or `None` if the update has to wait for its tick.
    pub(super) fn spend(&mut self, new: u64) -> Option<usize> {
        if new == 0 || self.left == 0 {
            return None;
        }
        self.left -= 1;
        (new <= QUESTION_MAX).then_some(new as usize)
    }

    /// Makes all early updates available again: after a pause, and after an answer, because a
    /// program that asks once usually asks again.
    pub(super) fn refill(&mut self) {
        self.left = EARLY_MAX;
    }

    /// Notes that an update has found output or a new size.
    pub(super) fn found_output(&mut self) {
        self.quiet = 0;
    }

    /// Notes that an update has found nothing new.
    pub(super) fn found_nothing(&mut self) {
        self.quiet += 1;
        if self.quiet == QUIET_UPDATES {
            self.quiet = 0;
            self.left = (self.left + 1).min(EARLY_MAX);
        }
    }
}

/// Whether output may contain a question: each begins with ESC or with a C1 control, which is 0xc2
/// and 0x80 to 0x9f in UTF-8.
pub(super) fn may_ask(output: &[u8]) -> bool {
    output.iter().any(|byte| matches!(byte, 0x1b | 0xc2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_without_pauses_uses_them_up_and_quiet_gives_them_back() {
        let mut early = EarlyUpdates::new();
        assert_eq!(early.spend(0), None, "nothing to update for");
        for _ in 0..EARLY_MAX {
            assert_eq!(early.spend(10), Some(10));
        }
        assert_eq!(early.spend(10), None);
        (1..QUIET_UPDATES).for_each(|_| early.found_nothing());
        early.found_output();
        (1..QUIET_UPDATES).for_each(|_| early.found_nothing());
        assert!(!early.any_left(), "not in a row");
        early.found_nothing();
        assert_eq!(early.spend(QUESTION_MAX + 1), None, "too much to be a question");
        early.refill();
        assert!(early.any_left());
    }
}
