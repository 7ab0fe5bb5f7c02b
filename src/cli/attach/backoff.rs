//! The waits between attempts to connect again.

use std::time::Duration;

/// The first wait: a restarted server answers within some hundred milliseconds.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait: a server that stays away is tried about once a second.
const LONGEST: Duration = Duration::from_millis(800);

/// Doubling waits, with jitter so that many clients do not come back in step.
#[derive(Debug, Default)]
pub(in crate::cli) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Starts over, because a connection was open.
    pub(in crate::cli) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: random, between half of the doubled wait and all of it.
    pub(in crate::cli) fn next(&mut self) -> Duration {
        let whole = (FIRST * 2_u32.pow(self.failures.min(8))).min(LONGEST);
        self.failures += 1;
        let half = whole / 2;
        half + half.mul_f64(f64::from(random()) / f64::from(u16::MAX))
    }
}

/// Without random numbers all clients wait for the same time, which is no failure.
fn random() -> u16 {
    getrandom::u32().unwrap_or_default() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        for whole in [50, 100, 200, 400, 800, 800, 800].map(Duration::from_millis) {
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} {whole:?}");
        }
        backoff.failures = u32::MAX - 1;
        assert!(backoff.next() <= LONGEST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
