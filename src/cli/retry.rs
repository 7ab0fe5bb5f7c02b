//! Retries a verb while the server is away, because a server that is being restarted is back soon.

use super::failure::Failure;
use super::out;
use chrono::{DateTime, Local};
use std::time::Duration;
use tokio::time::Instant;

/// The first wait: a restarted server answers within some hundred milliseconds …
const FIRST: Duration = Duration::from_millis(50);
/// … and the longest: a server that stays away is tried once a second.
const LONGEST_WAIT: Duration = Duration::from_millis(800);
/// How long the server may be away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// A server that has just been started does not know the machines of its fleet at once.
pub(super) const SETTLING: Duration = Duration::from_secs(10);

/// Doubling waits, with jitter so that many clients do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A connection was open: start over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: between half and all of the doubled one.
    pub(super) fn next(&mut self) -> Duration {
        let whole = (FIRST * 2_u32.pow(self.failures.min(8))).min(LONGEST_WAIT);
        self.failures += 1;
        let half = whole / 2;
        half + half.mul_f64(f64::from(random()) / f64::from(u16::MAX))
    }
}

/// Without randomness all clients wait the same, which is no failure.
fn random() -> u16 {
    getrandom::u32().unwrap_or_default() as u16
}

/// Retries of a verb while the server is away.
#[derive(Debug, Default)]
pub(super) struct Retries {
    backoff: Backoff,
    away_since: Option<Instant>,
    /// Whether the user knows which machine is not reached.
    has_told: bool,
}

impl Retries {
    /// Notes that the server has answered.
    pub(super) fn reset(&mut self) {
        *self = Retries::default();
    }

    /// Whether what has begun may go on after this failure.
    pub(super) fn may_pass(&self, failure: &Failure) -> bool {
        let is_early = self.away_since.is_none_or(|since| since.elapsed() < SETTLING);
        failure.is_passing() || is_early && matches!(failure, Failure::UnknownNode(_))
    }

    /// Notes that the server is away. Returns the wait before the next attempt, unless it has been
    /// away for too long.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        (since.elapsed() < AWAY_MAX).then(|| self.backoff.next())
    }

    /// The same; if it is a machine of the fleet that is not reached, the first time says so.
    pub(super) fn wait_after(&mut self, failure: &Failure) -> Option<Duration> {
        let wait = self.next_wait()?;
        if let Some(why) = failure.node_away().filter(|_| !self.has_told) {
            self.has_told = true;
            out::message(&format!("stayd: {}", not_reached(why, Local::now())));
        }
        Some(wait)
    }
}

/// Says which machine is not reached, in the server's words, and since when.
pub(super) fn not_reached(why: &str, since: DateTime<Local>) -> String {
    let why = why.trim_end_matches('.');
    format!("{why}; not reached since {}, trying again", since.format("%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_may_not_be_known_yet_when_the_server_is_back() {
        let unknown = Failure::UnknownNode("no machine is called x".into());
        let mut retries = Retries::default();
        assert!(retries.may_pass(&unknown) && !unknown.is_passing());
        retries.away_since = Instant::now().checked_sub(SETTLING);
        assert!(!retries.may_pass(&unknown));
        assert!(retries.may_pass(&Failure::Unreachable("gone".into())));
        assert!(!retries.may_pass(&Failure::NoSuchSession("web".into())));
    }

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        for whole in [50, 100, 200, 400, 800, 800, 800].map(Duration::from_millis) {
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} {whole:?}");
        }
        backoff.failures = u32::MAX - 1;
        assert!(backoff.next() <= LONGEST_WAIT);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
