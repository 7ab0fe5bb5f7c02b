//! Retries of a verb while the server is away: one that is being restarted is back in a moment.

use super::attach::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// How long the server may be away.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Retries {
    backoff: Backoff,
    away_since: Option<Instant>,
}

impl Retries {
    /// The server has answered.
    pub(super) fn reset(&mut self) {
        *self = Retries::default();
    }

    /// The server is away. Returns the wait before the next attempt, unless it has been away for
    /// too long.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        (since.elapsed() < LONGEST).then(|| self.backoff.next())
    }
}
