//! How long after a failed attempt the next one is made.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
/// Somebody who mends a server waits no longer than this for what has happened meanwhile.
const MOST: Duration = Duration::from_secs(60);
/// A delivery that was tried for so long is given up: whoever is to be told has other ways to know by then,
/// and those behind it wait.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// The time before the next attempt, after so many failed ones. `fraction`, from 0 to 1, is chosen at
/// random: what failed together is not tried again together.
pub(super) fn delay(failed: u32, fraction: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(MOST);
    doubled.mul_f64(0.75 + 0.5 * fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_up_to_a_minute() {
        let all: Vec<u64> = (1..9).map(|failed| delay(failed, 0.5).as_secs()).collect();
        assert_eq!(all, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn it_is_never_long_nor_none(failed: u32, fraction in 0.0f64..=1.0) {
            let delay = delay(failed, fraction);
            prop_assert!(delay >= FIRST.mul_f64(0.75) && delay <= MOST.mul_f64(1.25));
        }
    }
}
