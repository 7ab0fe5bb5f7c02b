//! Errors between server and holder.

use crate::holder::wire::{self, Failure, FailureCode};
use crate::ring::RingError;
use nix::errno::Errno;

/// The holder could not be reached or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// Its socket cannot be reached.
    #[error("cannot reach the holder: {0}")]
    Unreachable(Errno),
    /// It could not be started.
    #[error("cannot start the holder: {0}")]
    Launch(String),
    /// Something of another user listens on its socket.
    #[error("the holder's socket belongs to another user")]
    ForeignUser,
    /// It speaks another major version.
    #[error(
        "the holder speaks version {theirs} and this stayd {}. Its sessions run on: start the \
         stayd that speaks version {theirs} to reach them, or end them all with its \
         `stayd stop --all` and start this one again",
        wire::MAJOR
    )]
    Version {
        /// Its major version.
        theirs: u16,
    },
    /// It does not answer.
    #[error("the holder does not answer")]
    Timeout,
    /// The connection is broken.
    #[error("the holder is gone")]
    Gone,
    /// It said no.
    #[error("{message}")]
    Refused {
        /// Why.
        code: FailureCode,
        /// For people.
        message: String,
    },
    /// A session's ring cannot be mapped.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// It sent something that cannot be used.
    #[error("the holder's answer is unusable: {0}")]
    Answer(String),
    /// The request cannot be sent.
    #[error("cannot ask the holder: {0}")]
    Request(String),
}

/// A session could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A step on the way to the program failed: `pty`, `ring`, `spawn`, `spec`, `stdio`,
    /// `limits`, `chdir` or `exec`.
    #[error("{step}: {}", Errno::from_raw(*errno).desc())]
    Step {
        /// Which.
        step: String,
        /// Why.
        errno: i32,
    },
    /// A limit of the system was reached; the text says which.
    #[error("{0}")]
    Limit(String),
    /// Anything else.
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
