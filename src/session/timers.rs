//! The timers of a session: at most one for each thing that it looks at later. Setting a timer
//! replaces the one that runs for the same thing.

use actix::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

/// A subject that a session looks at again later.
#[derive(Clone, Copy, Debug, Hash, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub(super) enum Look {
    /// The ring's tail.
    Tail,
    /// The destroy timer.
    Countdown,
    /// Whether somebody still uses the session.
    Use,
    /// Which size clients want now that they have been quiet.
    Size,
    /// The title and the directory.
    Title,
    /// Whether there was no output.
    Quiet,
    /// The state that clients were not told during the rest.
    State,
    /// Whether the leader's exit status has come, after its tree was seen empty.
    Exit,
}

/// The timers that run.
#[derive(Debug, Default)]
pub(super) struct Timers(HashMap<Look, SpawnHandle>);

impl Timers {
    /// Has something looked at after this time, and at no other; `None`: not at all.
    pub(super) fn set<A>(&mut self, look: Look, after: Option<Duration>, ctx: &mut Context<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Look>,
    {
        if let Some(before) = self.0.remove(&look) {
            ctx.cancel_future(before);
        }
        if let Some(after) = after {
            self.0.insert(look, ctx.notify_later(look, after));
        }
    }

    /// Its time has come.
    pub(super) fn fired(&mut self, look: Look) {
        self.0.remove(&look);
    }

    /// Stops waiting for it. False: nobody did.
    pub(super) fn cancel<A>(&mut self, look: Look, ctx: &mut Context<A>) -> bool
    where
        A: Actor<Context = Context<A>>,
    {
        self.0.remove(&look).is_some_and(|timer| ctx.cancel_future(timer))
    }
}
