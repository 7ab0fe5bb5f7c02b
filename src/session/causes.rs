//! The causes of a session's transitions: the principals that asked for them. The state machine
//! does not know of principals; its records get their cause from here.

use crate::lifecycle::{EndReason, Reason, Status};
use crate::protocol::Cause;
use crate::store::Change;
use serde::{Deserialize, Serialize};
use slog::{Logger, info};

/// The principals that asked last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Causes {
    /// The principal that asked for the end.
    kill: Option<Cause>,
    /// The last signal, and the principal that sent it.
    signal: Option<(i32, Cause)>,
}

impl Causes {
    pub(super) fn signalled(&mut self, signal: i32, cause: Option<Cause>) {
        self.signal = cause.map(|cause| (signal, cause));
    }

    pub(super) fn killed(&mut self, cause: Option<Cause>) {
        self.kill = cause;
    }

    /// The cause of a transition. `signal` is the one that has ended the leader, `now` the principal
    /// whose request is being served.
    pub(super) fn of<'a>(
        &'a self,
        reason: Reason,
        signal: Option<i32>,
        now: Option<&'a Cause>,
    ) -> Option<&'a Cause> {
        match reason {
            Reason::End(EndReason::Killed) => self.kill.as_ref(),
            Reason::End(EndReason::Signaled) => match &self.signal {
                Some((sent, cause)) if Some(*sent) == signal => Some(cause),
                _ => None,
            },
            // A timer, an exit, a loss: nobody asks.
            Reason::End(_) => None,
            _ => now,
        }
    }
}

/// Writes the log line of what a change of a row records.
pub(crate) fn log_transition(log: &Logger, change: &Change) {
    let Some(transition) = &change.transition else { return };
    let cause = transition.cause.as_ref();
    info!(log, "transition"; "session" => %change.row.session.id,
        "from" => transition.from.map(Status::as_str), "to" => transition.to.as_str(),
        "reason" => &transition.reason, "connections" => transition.active_connections,
        "caused_by" => cause.map(|cause| cause.token.clone()),
        "address" => cause.and_then(|cause| cause.address.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_the_cause_of_who_asked_for_it_and_no_other() {
        let cause =
            |token: &str| Some(Cause { token: token.to_owned(), token_id: None, address: None });
        let (mut causes, now) = (Causes::default(), cause("now"));
        assert_eq!(causes.of(Reason::Attached, None, now.as_ref()), now.as_ref());
        assert_eq!(causes.of(Reason::End(EndReason::Killed), Some(9), now.as_ref()), None);
        causes.signalled(2, cause("a"));
        causes.signalled(15, cause("b"));
        let signaled = Reason::End(EndReason::Signaled);
        assert_eq!(causes.of(signaled, Some(15), now.as_ref()), cause("b").as_ref());
        assert_eq!(causes.of(signaled, Some(11), now.as_ref()), None, "it crashed: nobody asked");
        assert_eq!(causes.of(Reason::End(EndReason::Exited), Some(15), now.as_ref()), None);
        causes.killed(cause("c"));
        assert_eq!(
            causes.of(Reason::End(EndReason::Killed), Some(1), now.as_ref()),
            cause("c").as_ref()
        );
        let kept: Causes = serde_json::from_value(serde_json::to_value(&causes).unwrap()).unwrap();
        assert_eq!(kept, causes);
    }
}
