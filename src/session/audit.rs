//! Who asked for what happens to a session. The state machine does not know of them; what
//! it records gets its cause from here.

use super::actor::Session;
use crate::lifecycle::{EndReason, Reason};
use crate::protocol::Cause;
use serde::{Deserialize, Serialize};

/// Who asked, last and now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Causes {
    /// Who asked for the end that was decided.
    kill: Option<Cause>,
    /// Who sent the last signal, and which.
    signal: Option<(i32, Cause)>,
    /// Who asks for what is being done now; `None`: nobody, it comes by itself.
    #[serde(skip)]
    now: Option<Cause>,
}

impl Causes {
    pub(super) fn signalled(&mut self, signal: i32, cause: Option<Cause>) {
        self.signal = cause.map(|cause| (signal, cause));
    }

    pub(super) fn killed(&mut self, cause: Option<Cause>) {
        self.kill = cause;
    }

    /// Who asked for a transition; `signal` is the one that has ended the leader.
    pub(super) fn of(&self, reason: Reason, signal: Option<i32>) -> Option<&Cause> {
        match reason {
            Reason::End(EndReason::Killed) => self.kill.as_ref(),
            Reason::End(EndReason::Signaled) => match &self.signal {
                Some((sent, cause)) if Some(*sent) == signal => Some(cause),
                _ => None,
            },
            // A timer, an exit, a loss: nobody asks.
            Reason::End(_) => None,
            _ => self.now.as_ref(),
        }
    }
}

impl Session {
    /// Does something that somebody asks for: what is recorded meanwhile has this cause.
    pub(super) fn on_behalf<T>(
        &mut self,
        cause: Option<Cause>,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = std::mem::replace(&mut self.causes.now, cause);
        let done = act(self);
        self.causes.now = before;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_the_cause_of_who_asked_for_it_and_no_other() {
        let cause = |token: &str| Some(Cause { token: token.to_owned(), address: None });
        let mut causes = Causes { now: cause("now"), ..Causes::default() };
        assert_eq!(causes.of(Reason::Attached, None), cause("now").as_ref());
        assert_eq!(causes.of(Reason::End(EndReason::Killed), Some(9)), None);
        causes.signalled(2, cause("a"));
        causes.signalled(15, cause("b"));
        let signaled = Reason::End(EndReason::Signaled);
        assert_eq!(causes.of(signaled, Some(15)), cause("b").as_ref());
        assert_eq!(causes.of(signaled, Some(11)), None, "it crashed: nobody asked");
        assert_eq!(causes.of(Reason::End(EndReason::Exited), Some(15)), None);
        causes.killed(cause("c"));
        assert_eq!(causes.of(Reason::End(EndReason::Killed), Some(1)), cause("c").as_ref());
        let kept: Causes = serde_json::from_value(serde_json::to_value(&causes).unwrap()).unwrap();
        assert_eq!(kept, Causes { now: None, ..causes });
    }
}
