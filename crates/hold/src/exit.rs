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
    /// The leader has ended and nobody knows how: whoever could have asked the kernel was dead, and
    /// the kernel is too old to answer anybody else.
    Unknown,
}

const CODE: u64 = 1 << 32;
const SIGNAL: u64 = 2 << 32;
const UNKNOWN: u64 = 3 << 32;

impl Exit {
    /// The exit in a status of wait(2).
    #[must_use]
    pub fn of_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else {
            Exit::Signal(libc::WTERMSIG(status))
        }
    }

    /// The exit as a word of shared memory, which is never 0.
    #[must_use]
    pub fn to_word(self) -> u64 {
        match self {
            Exit::Code(code) => CODE | u64::from(code.cast_unsigned()),
            Exit::Signal(signal) => SIGNAL | u64::from(signal.cast_unsigned()),
            Exit::Unknown => UNKNOWN,
        }
    }

    /// The exit that a word stands for, if it stands for one.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let value = (word as u32).cast_signed();
        match word & !u64::from(u32::MAX) {
            CODE => Some(Exit::Code(value)),
            SIGNAL => Some(Exit::Signal(value)),
            UNKNOWN => Some(Exit::Unknown),
            _ => None,
        }
    }
}
