//! Refusals and failures, as messages carry them.

use super::control::MAJOR;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why a request was not performed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure, which programs match on.
    #[serde(default)]
    pub code: FailureCode,
    /// An explanation for people.
    #[serde(default)]
    pub message: String,
    /// The step of a spawn that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The error of that step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The holder's own major version, if another version was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<u16>,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A message that this holder does not know or cannot parse.
    Invalid,
    /// The other side speaks another major version.
    Version,
    /// There is no such session.
    NotFound,
    /// The session is still running.
    Live,
    /// The session has ended.
    Ended,
    /// A limit of the system was reached.
    Limit,
    /// A step of a spawn failed.
    Step,
    /// The holder is shutting down.
    Closing,
    /// Anything else, including codes of a newer holder.
    #[default]
    #[serde(other)]
    Other,
}

impl Failure {
    fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), ..Failure::default() }
    }

    /// The message cannot be parsed, or requests something impossible.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(FailureCode::Invalid, message)
    }

    /// The message is of a kind that a newer version may know.
    #[must_use]
    pub fn unknown_kind(kind: u8) -> Self {
        Failure::invalid(format!("this holder does not know messages of kind {kind}"))
    }

    /// The other side speaks another major version.
    #[must_use]
    pub fn version() -> Self {
        let message = format!(
            "this holder speaks version {MAJOR} only: start a stayd that does, or end the \
             sessions with `stayd stop --all`"
        );
        Failure { major: Some(MAJOR), ..Failure::new(FailureCode::Version, message) }
    }

    /// No session has this id.
    #[must_use]
    pub fn no_such_session() -> Self {
        Failure::new(FailureCode::NotFound, "no such session")
    }

    /// The request needs a session that has ended.
    #[must_use]
    pub fn still_running() -> Self {
        Failure::new(FailureCode::Live, "the session is still running")
    }

    /// The request needs a session that has not ended.
    #[must_use]
    pub fn has_ended() -> Self {
        Failure::new(FailureCode::Ended, "the session has ended")
    }

    /// The holder takes no new sessions any more.
    #[must_use]
    pub fn closing() -> Self {
        Failure::new(FailureCode::Closing, "the holder is ending")
    }

    /// Another program cannot take the sessions over.
    #[must_use]
    pub fn unknown_layout(ours: u64) -> Self {
        let text = format!("it does not know layout {ours} of the holder's memory");
        Failure::new(FailureCode::Version, text)
    }

    /// An upgrade is under way, or another has not come to its end.
    #[must_use]
    pub fn upgrading() -> Self {
        Failure::new(FailureCode::Other, "another upgrade is under way")
    }

    /// The other program did not start.
    #[must_use]
    pub fn not_upgraded() -> Self {
        Failure::new(FailureCode::Other, "the other program did not start; the sessions run on")
    }

    /// The holder died while it performed the request, and nobody knows whether it has done so.
    #[must_use]
    pub fn unknown_outcome() -> Self {
        let text = "the holder was replaced while it did this: it may have been done, or not";
        Failure::new(FailureCode::Other, text)
    }

    /// The request has ended a holder again and again.
    #[must_use]
    pub fn poisoned() -> Self {
        Failure::new(FailureCode::Other, "the holder dies of this request")
    }

    /// Too many requests wait for the same thing.
    #[must_use]
    pub fn busy() -> Self {
        Failure::new(FailureCode::Limit, "too many requests wait for the start of this session")
    }

    /// There is not enough memory. Without memory Rust ends the process, so code that may need much
    /// of it tries first.
    #[must_use]
    pub fn no_memory() -> Self {
        Failure::new(FailureCode::Limit, "out of memory")
    }

    /// The holder's own limit of descriptors is reached.
    #[must_use]
    pub fn no_files() -> Self {
        Failure::new(FailureCode::Limit, NO_FILES)
    }

    /// A system call has failed.
    #[must_use]
    pub fn os(errno: Errno) -> Self {
        Failure { errno: Some(errno as i32), ..Failure::new(FailureCode::Other, errno.desc()) }
    }

    /// A step has failed in the shim.
    #[must_use]
    pub fn of_shim(step: &str, errno: i32) -> Self {
        Failure {
            step: Some(step.to_owned()),
            errno: Some(errno),
            ..Failure::new(FailureCode::Step, Errno::from_raw(errno).desc())
        }
    }

    /// A step of the holder's own has failed. Limits of the system have a code of their own,
    /// because they are temporary.
    #[must_use]
    pub fn of_step(step: &str, errno: Errno) -> Self {
        let limit = match (step, errno) {
            ("pty", Errno::ENOSPC) => Some("no more pseudo-terminals (sysctl kernel.pty.max)"),
            (_, Errno::EMFILE) => Some(NO_FILES),
            (_, Errno::ENFILE) => {
                Some("the system has no more file descriptors (sysctl fs.file-max)")
            }
            (_, Errno::ENOMEM) => Some("out of memory"),
            ("spawn", Errno::EAGAIN) => Some("no more processes (ulimit -u, pids cgroup)"),
            _ => None,
        };
        Failure {
            step: Some(step.to_owned()),
            errno: Some(errno as i32),
            ..match limit {
                Some(text) => Failure::new(FailureCode::Limit, text),
                None => Failure::new(FailureCode::Step, errno.desc()),
            }
        }
    }
}

const NO_FILES: &str = "the holder has no more file descriptors (ulimit -n)";
