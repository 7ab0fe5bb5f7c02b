//! The order of the calls of tools, and how many there are at a time.

use crate::id::SessionId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// The most calls of one principal that are served or wait for their turn. A wait has a screen of its own,
/// and a call holds its arguments.
const OF_ONE_MAX: usize = 64;
/// The most of all principals.
const OF_ALL_MAX: usize = 512;

/// Calls of one principal on one session take turns, in the order in which they came: an agent that calls
/// several tools at once means one after the other. Those of different principals do not wait for each
/// other, so that nobody who may only look holds up who types. Clones share the turns.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    /// How many calls each principal has.
    counts: HashMap<String, usize>,
    all: usize,
    lines: HashMap<(String, SessionId), Weak<tokio::sync::Mutex<()>>>,
}

/// There are as many calls as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {0} calls of tools at once already; call again when one of them is answered")]
pub(super) struct TooMany(usize);

/// A call, until it is dropped.
pub(super) struct Call {
    turns: Turns,
    principal: String,
}

impl Turns {
    /// Admits a call of a principal.
    pub(super) fn admit(&self, principal: String) -> Result<Call, TooMany> {
        let mut calls = self.lock();
        if calls.all >= OF_ALL_MAX {
            return Err(TooMany(OF_ALL_MAX));
        }
        let count = calls.counts.entry(principal.clone()).or_default();
        if *count >= OF_ONE_MAX {
            return Err(TooMany(OF_ONE_MAX));
        }
        *count += 1;
        calls.all += 1;
        drop(calls);
        Ok(Call { turns: self.clone(), principal })
    }

    /// A panic elsewhere leaves the table whole.
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Waits for the turn of this call among those on a session. It ends when the guard is dropped.
    pub(super) async fn turn(&self, session: SessionId) -> OwnedMutexGuard<()> {
        let line = {
            let mut calls = self.turns.lock();
            let line = calls.lines.entry((self.principal.clone(), session)).or_default();
            let there = line.upgrade().unwrap_or_default();
            *line = Arc::downgrade(&there);
            there
        };
        // It is fair: first come, first served.
        line.lock_owned().await
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.turns.lock();
        calls.all -= 1;
        if let Entry::Occupied(mut count) = calls.counts.entry(std::mem::take(&mut self.principal))
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        calls.lines.retain(|_, line| line.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[actix_web::test]
    async fn calls_of_one_on_a_session_take_turns_in_order() {
        let turns = Turns::default();
        let call = |who: &str| turns.admit(who.to_owned()).unwrap();
        let (here, there) = (SessionId::generate(), SessionId::generate());
        let (first, second, third) = (call("anna"), call("anna"), call("anna"));
        let one = first.turn(here).now_or_never().expect("nobody is before it");
        let (mut two, mut three) = (Box::pin(second.turn(here)), Box::pin(third.turn(here)));
        assert!((&mut two).now_or_never().is_none());
        assert!((&mut three).now_or_never().is_none());
        assert!(call("anna").turn(there).now_or_never().is_some(), "another session");
        assert!(call("bert").turn(here).now_or_never().is_some(), "somebody else");
        drop(one);
        assert!((&mut three).now_or_never().is_none(), "the second came before");
        drop((&mut two).now_or_never().expect("its turn"));
        assert!((&mut three).now_or_never().is_some());
    }

    #[test]
    fn calls_are_counted_until_they_end() {
        let turns = Turns::default();
        let calls: Vec<_> = (0..OF_ONE_MAX).map(|_| turns.admit("anna".into())).collect();
        assert!(calls.iter().all(Result::is_ok));
        assert_eq!(turns.admit("anna".into()).err(), Some(TooMany(OF_ONE_MAX)));
        let others = (0..OF_ALL_MAX).map(|n| turns.admit(format!("{n}"))).collect::<Vec<_>>();
        assert_eq!(others.iter().filter(|call| call.is_ok()).count(), OF_ALL_MAX - OF_ONE_MAX);
        drop((calls, others));
        let calls = turns.lock();
        assert_eq!((calls.all, calls.counts.len(), calls.lines.len()), (0, 0, 0));
    }
}
