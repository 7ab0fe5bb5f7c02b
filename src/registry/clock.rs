//! Notices when the wall clock is set, which changes what deadlines look like and nothing
//! else: they are kept on CLOCK_BOOTTIME.

use crate::lifecycle::Now;
use std::time::Duration;

/// The interval at which the clocks are compared.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// A smaller difference comes from the clock being slewed (adjtime(3)), and is not logged.
const JUMP_MS: i64 = 500;

/// The difference between the wall clock and CLOCK_BOOTTIME when it was last looked at.
#[derive(Debug)]
pub(super) struct Clock {
    ahead_ms: i64,
}

impl Clock {
    pub(super) fn new(now: Now) -> Self {
        Clock { ahead_ms: ahead_ms(now) }
    }

    /// Returns by how many milliseconds the wall clock was set since this was last called, if it
    /// was.
    pub(super) fn jump(&mut self, now: Now) -> Option<i64> {
        let by = ahead_ms(now).saturating_sub(self.ahead_ms);
        if by.abs() < JUMP_MS {
            return None;
        }
        self.ahead_ms += by;
        Some(by)
    }
}

fn ahead_ms(now: Now) -> i64 {
    now.wall.timestamp_millis().saturating_sub_unsigned(now.boot_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn at(wall_ms: i64, boot_ms: u64) -> Now {
        Now { wall: DateTime::from_timestamp_millis(wall_ms).unwrap(), boot_ms }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let mut clock = Clock::new(at(1_000_000, 1_000));
        assert_eq!(clock.jump(at(1_001_003, 2_000)), None);
        assert_eq!(clock.jump(at(1_062_000, 3_000)), Some(60_000));
        assert_eq!(clock.jump(at(1_063_000, 4_000)), None);
        assert_eq!(clock.jump(at(4_000, 5_000)), Some(-1_060_000));
    }

    #[test]
    fn slow_drift_adds_up() {
        let mut clock = Clock::new(at(1_000_000, 0));
        assert_eq!(clock.jump(at(1_001_400, 1_000)), None);
        assert_eq!(clock.jump(at(1_002_600, 2_000)), Some(600));
    }
}
