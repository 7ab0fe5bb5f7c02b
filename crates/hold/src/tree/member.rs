//! A tree and a member of it.

use super::process::{self, ProcessId};
use crate::id::SessionId;
use std::io;

/// The processes of one session.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The session.
    pub id: SessionId,
    /// The session's first process, whether or not it still lives; `None` if it is unknown.
    pub leader: Option<ProcessId>,
    /// The holder, which adopts the session's orphans and is never a member itself. With it,
    /// orphans without a mark are found after the leader's end.
    pub holder: Option<i32>,
}

/// A process of a tree, when it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

impl Member {
    /// Sends a signal to this process and no other.
    ///
    /// # Errors
    /// `ESRCH` or `NotFound` if the process is gone, even if its pid was reused; `EPERM` if it is
    /// another user's; `EMFILE` or `ENFILE` if no descriptor is free.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::signal(self.pid, self.start_time, signal)
    }
}
