//! A session's life as a pure state machine: an event in, the legal next state and
//! effects (as data) out. The session actor only executes the effects.

use serde::{Deserialize, Serialize};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The process runs; nobody has attached yet.
    Running,
    /// At least one client is attached.
    Active,
    /// The last client has left.
    Idle,
    /// Ended as asked, or by itself with exit code 0.
    Terminated,
    /// Could not start, exited non-zero, killed by a signal nobody asked for, or could not be restored.
    Error,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The leader exited.
    Exited,
    /// A signal ended the leader.
    Signaled,
    /// An administrator killed it.
    Killed,
    /// Nobody came back in time.
    IdleTimeout,
    /// Nobody ever came.
    FirstAttachTimeout,
    /// It could not be started.
    SpawnFailed,
    /// The holder did not hold it when the server started.
    Orphaned,
    /// It could not be restored.
    RestoreFailed,
}

/// How the leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its exit code.
    Code(i32),
    /// The signal that ended it.
    Signal(i32),
}
