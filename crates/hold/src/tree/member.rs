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
    /// The holder and its guardian, which adopt the session's orphans and are never members
    /// themselves. With them, orphans without a mark are found after the leader's end.
    pub keepers: Option<Keepers>,
}

/// The processes to which the orphans of sessions fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepers {
    /// The holder.
    pub holder: i32,
    /// Its guardian, which is its parent and has the leaders that dead holders have started; `None`
    /// for a holder without one.
    pub guardian: Option<i32>,
}

impl Keepers {
    /// Whether this is one of them.
    #[must_use]
    pub fn contain(&self, pid: i32) -> bool {
        pid == self.holder || Some(pid) == self.guardian
    }
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
