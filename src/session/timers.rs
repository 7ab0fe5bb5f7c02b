//! The timers of a session: at most one for each thing that it checks later; the destroy timer, and
//! the requests that push it ahead: as long as somebody types over HTTP, or waits for something,
//! without being attached, the countdown does not end the session.

use crate::lifecycle::Now;
use crate::tree;
use actix::prelude::*;
use chrono::Utc;
use std::collections::HashMap;
use std::time::Duration;

/// The destroy timer is checked at least this often, because tokio's clock stands still while the
/// machine sleeps and a deadline (on CLOCK_BOOTTIME) does not.
const TIMER_CHECK: Duration = Duration::from_secs(60);
/// The deadline is pushed ahead at this interval while a request waits, so that the deadline that
/// is shown is true to a second.
const PUSH_EVERY: Duration = Duration::from_millis(500);

/// A shell's foreground is looked at least this often while the countdown depends on it.
const CHECK_WORK: Duration = Duration::from_secs(10);

/// A thing that a session checks later.
#[derive(Clone, Copy, Debug, Hash, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub(super) enum Timer {
    /// The ring's tail.
    Tail,
    /// The destroy timer.
    Countdown,
    /// Whether somebody still uses the session.
    Use,
    /// Whether its shell runs a command while nobody is attached.
    Work,
    /// Which size clients want now that they have been quiet.
    Size,
    /// The title and the directory.
    Title,
    /// What its program does now.
    Look,
    /// Whether the program that has reported still runs.
    Program,
    /// What its program does, where others were not told yet.
    Attention,
    /// Whether there was no output.
    Quiet,
    /// Whether old output can be discarded.
    IdleOutput,
    /// The state that clients were not told during the rest.
    State,
    /// Whether the leader's exit status has come, after its tree was seen empty.
    Exit,
}

/// The timers that run.
#[derive(Debug, Default)]
pub(super) struct Timers(HashMap<Timer, SpawnHandle>);

impl Timers {
    /// Has a thing checked after this time, and at no other; `None`: not at all.
    pub(super) fn set<A>(&mut self, timer: Timer, after: Option<Duration>, ctx: &mut Context<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Timer>,
    {
        if let Some(before) = self.0.remove(&timer) {
            ctx.cancel_future(before);
        }
        if let Some(after) = after {
            self.0.insert(timer, ctx.notify_later(timer, after));
        }
    }

    /// Whether a thing is checked later.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0.contains_key(&timer)
    }

    /// A timer has fired.
    pub(super) fn fired(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// Stops waiting for it. False: nobody did.
    pub(super) fn cancel<A>(&mut self, timer: Timer, ctx: &mut Context<A>) -> bool
    where
        A: Actor<Context = Context<A>>,
    {
        self.0.remove(&timer).is_some_and(|timer| ctx.cancel_future(timer))
    }
}

/// A shell's foreground is looked at several times in a timeout of this many seconds, so that the
/// deadline that is shown is true, and now and then in a long one.
pub(super) fn check_work_every(idle_s: Option<u64>) -> Duration {
    let quarter = Duration::from_secs(idle_s.unwrap_or_default()) / 4;
    quarter.clamp(PUSH_EVERY, CHECK_WORK)
}

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

    /// The time until the next check; `None`: the timer is not armed.
    pub(super) fn check_after(&self, boot_ms: u64) -> Option<Duration> {
        let (_, due) = self.armed?;
        Some(Duration::from_millis(due.saturating_sub(boot_ms)).min(TIMER_CHECK))
    }

    /// Checks the timer. Answers the generation that it was armed for, if it is due.
    pub(super) fn fire(&mut self, boot_ms: u64) -> Option<u64> {
        self.armed.take_if(|(_, due)| *due <= boot_ms).map(|(generation, _)| generation)
    }
}

/// A request begins or ends to use the session.
#[derive(Clone, Copy, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum Use {
    /// The use begins.
    Began,
    /// The use ends.
    Ended,
}

/// A request's use of a session; it ends when this is dropped.
pub struct InUse(Recipient<Use>);

impl InUse {
    /// Begins a use.
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
    fn a_timer_is_checked_now_and_then_and_fires_once_when_it_is_due() {
        let mut timer = DestroyTimer::default();
        assert_eq!((timer.check_after(0), timer.fire(0)), (None, None));
        timer.arm(3, 100_000);
        assert_eq!(timer.check_after(0), Some(TIMER_CHECK));
        assert_eq!(timer.check_after(99_000), Some(Duration::from_secs(1)));
        assert_eq!(timer.fire(99_999), None);
        assert_eq!((timer.fire(100_000), timer.fire(100_000)), (Some(3), None));
    }

    #[test]
    fn a_foreground_is_looked_at_several_times_in_a_timeout() {
        for (idle_s, ms) in [(Some(0), 500), (Some(4), 1000), (Some(1800), 10_000), (None, 500)] {
            assert_eq!(check_work_every(idle_s), Duration::from_millis(ms));
        }
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
