//! A session's process tree: who belongs to it, and how it ends as a whole.
//!
//! Programs leave their parents (`setsid`, double forks), so parentage alone does not find
//! them all. A process belongs to a session's tree if it
//!
//! - descends from the leader, or from anything else that belongs, while that lives;
//! - is in the leader's terminal session, or in one that a member leads (setsid(2));
//! - has inherited one of the session's two marks: `STAYD_SESSION=<id>` in its environment,
//!   or a resource limit that limits nothing and that no exec, fork or setsid sheds.
//!
//! What has shed all of that cannot be told from a stranger, and is left alone: a program
//! that sets `RLIMIT_RTTIME` itself, clears its environment and forks away, or that has
//! others start it (systemd-run, at, a container's daemon). A holder inside a session takes
//! the marks off itself: the session's end takes the server in it along, as any program,
//! and leaves that holder with its sessions, for a server elsewhere to take over.
//!
//! The limit is read with prlimit(2), and from `/proc/PID/limits` where that is refused:
//! 1.7 against 18 µs (reading `stat` takes 15, `environ` 14; measured from Python on 1,000
//! processes).
//!
//! Orphans are adopted by the holder, not by the leader, although a leader that is the
//! subreaper would keep parentage whole: with 100 daemons of 0.2 s, each forked twice,
//! leaders of Python, Perl and Node gathered 100 zombies, dash at a `read` 52, bash and a
//! dash that waits for a command none. With the holder it was none under any of them.
//!
//! A process that forks the next and ends, time and again, lives for less than a walk takes.
//! So a tree is believed to be empty only at a look during which nobody ended, and while it
//! is stopped, newcomers are looked for apart from the walks and stopped when they are seen.
//!
//! Signals reach a process through its pidfd and only if its start time is the one that was
//! seen: never whoever has its pid next.

mod end;
mod marks;
mod member;
pub mod pidfd;
mod process;
#[cfg(test)]
mod tests;
mod walk;

pub use end::{EndReport, Grace};
pub use marks::{MARK, is_marked_by_limit, mark_by_limit, unmark_by_limit};
pub use member::{Member, Tree};
pub use process::{ProcessId, boot_id, boottime_ms, start_time};

use std::collections::HashMap;
use std::io;
use walk::Snapshot;

impl Tree {
    /// The members of the tree now: one pass over /proc. Zombies do not count; the calling
    /// process and the holder never belong; the leader comes last.
    ///
    /// # Errors
    /// When /proc could not be read in full, for want of a descriptor for instance.
    pub fn members(&self) -> io::Result<Vec<Member>> {
        Snapshot::shared()?.members(self, &HashMap::new()).map(|look| look.members)
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

/// Every process below `root` now, children before their parents; zombies do not count.
///
/// # Errors
/// As [`Tree::members`].
pub fn descendants(root: i32) -> io::Result<Vec<Member>> {
    Ok(Snapshot::take()?.below(root))
}
