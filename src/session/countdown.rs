//! A session's countdown: when the destroy timer is looked at, and who pushes it ahead. As
//! long as somebody types over HTTP, or waits for something, without being attached, the
//! countdown does not end the session.

use crate::lifecycle::Now;
use crate::tree;
use actix::prelude::*;
use chrono::Utc;
use std::time::Duration;

/// Timers are looked at this often, because tokio's clock stands still while the machine
/// sleeps and a deadline (on CLOCK_BOOTTIME) does not.
const TIMER_LOOK: Duration = Duration::from_secs(60);
/// How often the deadline is pushed ahead while somebody waits: what is shown is true to a
/// second.
const PUSH_EVERY: Duration = Duration::from_millis(500);

/// The two clocks.
pub(crate) fn now() -> Now {
    Now { wall: Utc::now(), boot_ms: tree::boottime_ms() }
}

/// The destroy timer.
#[derive(Debug, Default)]
pub(super) struct DestroyTimer {
    /// The generation that it was armed for, and when it is due on CLOCK_BOOTTIME, in
    /// milliseconds.
    armed: Option<(u64, u64)>,
}

impl DestroyTimer {
    pub(super) fn arm(&mut self, generation: u64, boot_ms: u64) {
        self.armed = Some((generation, boot_ms));
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// After how long it is to be looked at; `None`: it is not armed.
    pub(super) fn look_after(&self, boot_ms: u64) -> Option<Duration> {
        let (_, due) = self.armed?;
        Some(Duration::from_millis(due.saturating_sub(boot_ms)).min(TIMER_LOOK))
    }

    /// It is looked at: the generation that it was armed for, if it is due.
    pub(super) fn fire(&mut self, boot_ms: u64) -> Option<u64> {
        self.armed.take_if(|(_, due)| *due <= boot_ms).map(|(generation, _)| generation)
    }
}

/// Somebody begins to use the session, or is done.
#[derive(Clone, Copy, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum Use {
    /// From now on.
    Began,
    /// Until now.
    Ended,
}

/// Somebody uses the session; over when it is dropped.
pub struct InUse(Recipient<Use>);

impl InUse {
    /// From now on.
    #[must_use]
    pub fn of(session: impl Into<Recipient<Use>>) -> Self {
        let session = session.into();
        session.do_send(Use::Began);
        InUse(session)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.do_send(Use::Ended);
    }
}

/// The number of requests that use a session now.
#[derive(Debug, Default)]
pub(super) struct Uses(u32);

impl Uses {
    pub(super) fn count(&mut self, used: Use) {
        self.0 = match used {
            Use::Began => self.0.saturating_add(1),
            Use::Ended => self.0.saturating_sub(1),
        };
    }

    /// After how long the deadline is pushed ahead again; `None`: nobody uses the session.
    pub(super) fn push_after(&self) -> Option<Duration> {
        (self.0 > 0).then_some(PUSH_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_looked_at_now_and_then_and_fires_once_when_it_is_due() {
        let mut timer = DestroyTimer::default();
        assert_eq!((timer.look_after(0), timer.fire(0)), (None, None));
        timer.arm(3, 100_000);
        assert_eq!(timer.look_after(0), Some(TIMER_LOOK));
        assert_eq!(timer.look_after(99_000), Some(Duration::from_secs(1)));
        assert_eq!(timer.fire(99_999), None);
        assert_eq!((timer.fire(100_000), timer.fire(100_000)), (Some(3), None));
    }

    #[test]
    fn a_deadline_is_pushed_while_anybody_uses_the_session() {
        let mut uses = Uses::default();
        for (used, pushes) in
            [(Use::Began, true), (Use::Began, true), (Use::Ended, true), (Use::Ended, false)]
        {
            uses.count(used);
            assert_eq!(uses.push_after().is_some(), pushes);
        }
    }
}
