//! Errors between server and holder.

use crate::holder::wire::{self, Failure, FailureCode};
use crate::ring::RingError;
use nix::errno::Errno;

/// A request to the holder has failed.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The holder's socket cannot be reached.
    #[error("cannot reach the holder: {0}")]
    Unreachable(Errno),
    /// The holder could not be started.
    #[error("cannot start the holder: {0}")]
    Launch(String),
    /// Another user's process listens on the socket.
    #[error("the holder's socket belongs to another user")]
    ForeignUser,
    /// The holder speaks another major version.
    #[error(
        "the holder speaks version {theirs} and this stayd {}. Its sessions run on: start the \
         stayd that speaks version {theirs} to reach them, or end them all with its \
         `stayd stop --all` and start this one again",
        wire::MAJOR
    )]
    Version {
        /// The holder's major version.
        theirs: u16,
    },
    /// The holder does not answer.
    #[error("the holder does not answer")]
    Timeout,
    /// The connection is broken.
    #[error("the holder is gone")]
    Gone,
    /// The holder has refused the request.
    #[error("{message}")]
    Refused {
        /// The kind of refusal.
        code: FailureCode,
        /// An explanation for people.
        message: String,
    },
    /// A session's ring cannot be mapped.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The holder sent something that cannot be used.
    #[error("the holder's answer is unusable: {0}")]
    Answer(String),
    /// The request cannot be sent.
    #[error("cannot ask the holder: {0}")]
    Request(String),
}

/// Why a session could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A step on the way to the program failed: `pty`, `ring`, `spawn`, `spec`, `stdio`,
    /// `limits`, `chdir` or `exec`; for a confined session also `cgroup`, the name of a limit
    /// (`limits.nofile`), and the steps to its account (`terminal`, `initgroups`, `setgid`,
    /// `setuid` …).
    #[error("{step}: {}", Errno::from_raw(*errno).desc())]
    Step {
        /// The step.
        step: String,
        /// The error of the step.
        errno: i32,
    },
    /// A limit of the system was reached; the text names it.
    #[error("{0}")]
    Limit(String),
    /// Any other failure.
    #[error(transparent)]
    Holder(#[from] HolderError),
}

impl From<Failure> for HolderError {
    fn from(failure: Failure) -> Self {
        HolderError::Refused { code: failure.code, message: failure.message }
    }
}

impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        match (failure.code, &failure.step, failure.errno) {
            (FailureCode::Step, Some(step), Some(errno)) => {
                SpawnError::Step { step: step.clone(), errno }
            }
            (FailureCode::Limit, _, _) => SpawnError::Limit(failure.message),
            _ => SpawnError::Holder(failure.into()),
        }
    }
}
