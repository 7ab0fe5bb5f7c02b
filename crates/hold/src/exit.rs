//! The exit of a process.

use serde::{Deserialize, Serialize};

/// The exit of a session's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// The leader exited with this code.
    Code(i32),
    /// This signal ended the leader.
    Signal(i32),
}
