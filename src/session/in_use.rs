//! A session that is used over HTTP, without a client that is attached: as long as somebody
//! types, or waits for something, its countdown does not end it.

use super::actor::Session;
use crate::lifecycle::Event;
use actix::prelude::*;
use std::time::Duration;

/// How often the deadline is pushed ahead while somebody waits: what is shown is true to a
/// second.
const PUSH_EVERY: Duration = Duration::from_millis(500);

/// Somebody uses the session; over when it is dropped.
pub struct InUse(Addr<Session>);

impl InUse {
    /// From now on.
    #[must_use]
    pub fn of(session: &Addr<Session>) -> Self {
        session.do_send(UseBegan);
        InUse(session.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.do_send(UseEnded);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct UseBegan;

#[derive(Message)]
#[rtype(result = "()")]
struct UseEnded;

/// Who uses a session now.
#[derive(Default)]
pub(super) struct Uses {
    count: u32,
    pushing: Option<SpawnHandle>,
}

impl Session {
    /// Somebody uses it at this moment.
    pub(super) fn used(&mut self, ctx: &mut Context<Self>) {
        self.step_or_log(Event::Used, ctx);
    }

    /// The destroy timer has fired. Where somebody uses the session, the deadline is pushed
    /// ahead once more, even if that is behind time: the timer is stale then.
    pub(super) fn destroy_if_unused(&mut self, generation: u64, ctx: &mut Context<Self>) {
        if self.uses.count > 0 {
            self.used(ctx);
        }
        self.step_or_log(Event::TimerFired { generation }, ctx);
    }
}

impl Handler<UseBegan> for Session {
    type Result = ();

    fn handle(&mut self, _: UseBegan, ctx: &mut Self::Context) {
        self.used(ctx);
        self.uses.count += 1;
        if self.uses.pushing.is_none() {
            self.uses.pushing = Some(ctx.run_interval(PUSH_EVERY, Self::used));
        }
    }
}

impl Handler<UseEnded> for Session {
    type Result = ();

    fn handle(&mut self, _: UseEnded, ctx: &mut Self::Context) {
        self.used(ctx);
        self.uses.count = self.uses.count.saturating_sub(1);
        if self.uses.count == 0
            && let Some(pushing) = self.uses.pushing.take()
        {
            ctx.cancel_future(pushing);
        }
    }
}
