//! Decides whether an ended session's command is started again, and when. Pure.

use super::types::{EndReason, Status, UnknownWord};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// The delay before the first restart of a series.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// The longest delay. Each restart of a series waits twice as long as the one before.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// A command that ran this long has worked: its next failure begins a new series.
const WORKED: Duration = Duration::from_secs(60);

/// Says when a session's command is started again, under the same id, after it ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// The command is never started again.
    #[default]
    Never,
    /// It is started again if it exits with another code than 0, a signal that nobody requested
    /// ends it, or its holder is lost.
    OnFailure,
    /// It is started again however it ends by itself.
    Always,
}

impl RestartPolicy {
    /// Every policy.
    pub const ALL: [RestartPolicy; 3] =
        [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];

    /// The word in rows, settings and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RestartPolicy::Never => "never",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = RestartPolicy::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| UnknownWord::new("restart policy", text))
    }
}

/// A restart that the policy decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// The delay before the restart.
    pub after: Duration,
    /// The restart's place in its series, counted from 1.
    pub streak: u32,
}

/// Decides about a restart after an end. `ran` is the time for which the command ran; `streak` is
/// the place of its last restart in the series, 0 without one.
///
/// A session that was ended on purpose (a kill, a timeout) stays ended under every policy, and so
/// does a command that could not be started the first time.
#[must_use]
pub fn again(
    policy: RestartPolicy,
    status: Status,
    reason: EndReason,
    ran: Duration,
    streak: u32,
) -> Option<Again> {
    let wanted = match (policy, reason) {
        (RestartPolicy::Never, _)
        | (_, EndReason::Killed | EndReason::IdleTimeout | EndReason::FirstAttachTimeout) => false,
        (_, EndReason::SpawnFailed) => streak > 0,
        (_, EndReason::Orphaned | EndReason::RestoreFailed) | (RestartPolicy::Always, _) => true,
        (RestartPolicy::OnFailure, EndReason::Exited | EndReason::Signaled) => {
            status == Status::Error
        }
    };
    let streak = if ran >= WORKED { 1 } else { streak.saturating_add(1) };
    let doublings = streak.saturating_sub(1).min(16);
    let after = DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX);
    wanted.then_some(Again { after, streak })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    #[test]
    fn the_policy_decides_by_how_it_ended() {
        use EndReason::{
            Exited, FirstAttachTimeout, IdleTimeout, Killed, Orphaned, RestoreFailed, Signaled,
            SpawnFailed,
        };
        use RestartPolicy::{Always, Never, OnFailure};
        use Status::{Error, Terminated};
        // (end, on-failure, always)
        let cases = [
            (Terminated, Exited, false, true),
            (Error, Exited, true, true),
            (Error, Signaled, true, true),
            (Terminated, Signaled, false, true),
            (Terminated, Killed, false, false),
            (Terminated, IdleTimeout, false, false),
            (Terminated, FirstAttachTimeout, false, false),
            (Error, SpawnFailed, false, false),
            (Terminated, Orphaned, true, true),
            (Error, RestoreFailed, true, true),
        ];
        for (status, reason, on_failure, always) in cases {
            let wanted = |policy| again(policy, status, reason, SHORT, 0).is_some();
            assert!(!wanted(Never));
            assert_eq!((wanted(OnFailure), wanted(Always)), (on_failure, always), "{reason}");
        }
        assert!(again(OnFailure, Error, SpawnFailed, SHORT, 1).is_some(), "it had been started");
    }

    #[test]
    fn a_command_that_fails_at_once_waits_longer_each_time() {
        let mut streak = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let next =
                again(RestartPolicy::Always, Status::Error, EndReason::Exited, SHORT, streak);
            let next = next.unwrap();
            streak = next.streak;
            waits.push(next.after.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let worked = again(RestartPolicy::Always, Status::Error, EndReason::Exited, WORKED, streak);
        assert_eq!(worked, Some(Again { after: DELAY_MIN, streak: 1 }));
    }
}
