//! Why something was not done, in words of the wire.

use super::control::MAJOR;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure; machines match on it.
    #[serde(default)]
    pub code: FailureCode,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The step of a spawn that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Its errno.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The holder's own major version, if that is what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<u16>,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A message that this holder does not know, or cannot read.
    Invalid,
    /// Another major version.
    Version,
    /// No such session.
    NotFound,
    /// The session is still running.
    Live,
    /// The session has ended.
    Ended,
    /// A limit of the system was reached.
    Limit,
    /// A step of a spawn failed.
    Step,
    /// The holder is ending.
    Closing,
    /// Anything else, and codes of a newer holder.
    #[default]
    #[serde(other)]
    Other,
}

impl Failure {
    fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), ..Failure::default() }
    }

    /// The message cannot be read, or asks for what there cannot be.
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

    /// It could be done if the session had ended.
    #[must_use]
    pub fn still_running() -> Self {
        Failure::new(FailureCode::Live, "the session is still running")
    }

    /// It could be done if the session had not ended.
    #[must_use]
    pub fn has_ended() -> Self {
        Failure::new(FailureCode::Ended, "the session has ended")
    }

    /// The holder takes no new sessions any more.
    #[must_use]
    pub fn closing() -> Self {
        Failure::new(FailureCode::Closing, "the holder is ending")
    }

    /// Without memory Rust ends the process, so what could need much of it asks first.
    #[must_use]
    pub fn no_memory() -> Self {
        Failure::new(FailureCode::Limit, "out of memory")
    }

    /// The holder's own limit of descriptors is reached.
    #[must_use]
    pub fn no_files() -> Self {
        Failure::new(FailureCode::Limit, NO_FILES)
    }

    /// The system said no.
    #[must_use]
    pub fn os(errno: Errno) -> Self {
        Failure { errno: Some(errno as i32), ..Failure::new(FailureCode::Other, errno.desc()) }
    }

    /// The shim told that a step failed in it.
    #[must_use]
    pub fn of_shim(step: &str, errno: i32) -> Self {
        Failure {
            step: Some(step.to_owned()),
            errno: Some(errno),
            ..Failure::new(FailureCode::Step, Errno::from_raw(errno).desc())
        }
    }

    /// A step of the holder's own failed; limits of the system are told apart, since they
    /// pass.
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
