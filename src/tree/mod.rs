//! A session's process tree: who belongs to it, and how it ends as a whole.
//!
//! Programs leave their parents (`setsid`, double forks), so parentage alone does not find
//! them all. A process belongs to a session's tree if it
//!
//! - descends from the leader, or from anything else that belongs, while that lives;
//! - is in the leader's terminal session, or in one that a member leads (setsid(2));
//! - was started with the session's mark `STAYD_SESSION=<id>` in its environment.
//!
//! What has shed all three (`env -i setsid -f …`, once its parent is gone) cannot be told
//! from a stranger, and is left alone. Signals reach a process through its pidfd and only
//! if its start time is the one that was seen: never whoever has its pid next.

mod end;
pub(crate) mod pidfd;
mod process;
#[cfg(test)]
mod tests;
mod walk;

pub use end::{EndReport, Grace};
pub use process::{ProcessId, boot_id, boottime_ms, start_time};

use crate::id::SessionId;
use std::collections::HashMap;
use std::io;
use walk::Snapshot;

/// The environment variable that marks a session's processes; its value is the session's id.
pub const MARK: &str = "STAYD_SESSION";

/// The processes of one session.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The session.
    pub id: SessionId,
    /// Its first process, whether it still lives or not; `None` if it is not known.
    pub leader: Option<ProcessId>,
    /// The holder, which adopts the session's orphans and is never a member itself. With
    /// it, orphans without a mark are found after the leader's end.
    pub holder: Option<i32>,
}

/// A process of a tree, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

impl Tree {
    /// Who belongs to the tree now: one pass over /proc. Zombies do not count; the calling
    /// process and the holder never belong; the leader comes last.
    ///
    /// # Errors
    /// When /proc could not be read in full, for want of a descriptor for instance.
    pub fn members(&self) -> io::Result<Vec<Member>> {
        Snapshot::take()?.members(self, &HashMap::new())
    }

    /// Sends a signal to every member, the leader last; returns how many it reached.
    ///
    /// # Errors
    /// As [`Tree::members`].
    pub fn signal(&self, signal: i32) -> io::Result<usize> {
        let reached = |member: &&Member| member.signal(signal).is_ok();
        Ok(self.members()?.iter().filter(reached).count())
    }
}

impl Member {
    fn signal(&self, signal: i32) -> io::Result<()> {
        process::signal(self.pid, self.start_time, signal)
    }
}
