//! How a session ended, in a few words.

use crate::lifecycle::EndReason;
use crate::protocol::Session;
use nix::sys::signal::Signal;

/// How a session ended, such as "exited 7" or "ended by SIGTERM"; `None` if it has not.
pub(super) fn how(session: &Session) -> Option<String> {
    let signal = |number: i32| match Signal::try_from(number) {
        Ok(signal) => format!("ended by {}", signal.as_str()),
        Err(_) => format!("ended by signal {number}"),
    };
    Some(match (session.end_reason?, session.exit_code, session.exit_signal) {
        (EndReason::Exited, Some(code), _) => format!("exited {code}"),
        (EndReason::Exited, None, _) => "exited".into(),
        (EndReason::Signaled, _, Some(number)) => signal(number),
        (EndReason::Signaled, _, None) => "ended by a signal".into(),
        (EndReason::Killed, ..) => "killed".into(),
        (EndReason::IdleTimeout | EndReason::FirstAttachTimeout, ..) => "timed out".into(),
        (EndReason::SpawnFailed, ..) => "not started".into(),
        (EndReason::Orphaned | EndReason::RestoreFailed, ..) => "lost".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;

    #[test]
    fn an_end_is_told_as_people_say_it() {
        let mut ended = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        assert_eq!(how(&ended), None);
        for (reason, code, signal, words) in [
            (EndReason::Exited, Some(7), None, "exited 7"),
            (EndReason::Signaled, None, Some(15), "ended by SIGTERM"),
            (EndReason::Signaled, None, Some(40), "ended by signal 40"),
            (EndReason::Killed, None, Some(1), "killed"),
            (EndReason::IdleTimeout, None, Some(1), "timed out"),
            (EndReason::SpawnFailed, Some(127), None, "not started"),
            (EndReason::Orphaned, None, None, "lost"),
        ] {
            (ended.end_reason, ended.exit_code, ended.exit_signal) = (Some(reason), code, signal);
            assert_eq!(how(&ended).as_deref(), Some(words));
        }
    }
}
