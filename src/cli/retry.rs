//! How long a verb puts up with a server that is away: one that is started again is back in
//! a moment.

use super::attach::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may be away.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Patience {
    backoff: Backoff,
    away_since: Option<Instant>,
}

impl Patience {
    /// The server was there.
    pub(super) fn renew(&mut self) {
        *self = Patience::default();
    }

    /// It is not: when to try again, unless it has been away for too long.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        (since.elapsed() < LONGEST).then(|| self.backoff.next())
    }
}
