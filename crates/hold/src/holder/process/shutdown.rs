//! The holder's shutdown: on SIGTERM it ends everything that runs under it, and then itself.
//!
//! Guardian and holder are the subreapers of all their sessions, so that their processes are the
//! guardian's descendants, even those that have left their session. Leaders that an earlier guardian
//! had adopted are not: they are found by their sessions.

use super::sessions::Sessions;
use crate::holder::shared::SharedState;
use crate::tree::{self, Keepers, Member, ProcessId, Tree};
use nix::errno::Errno;
use nix::sys::epoll::EpollTimeout;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::getpid;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The time from SIGHUP to SIGTERM.
const GRACE_HANGUP: Duration = Duration::from_secs(1);
/// The time from SIGTERM to SIGKILL.
const GRACE_TERMINATE: Duration = Duration::from_secs(2);
/// The pause between rounds of SIGKILL: a process may have forked during the last round.
const KILL_ROUND: Duration = Duration::from_millis(100);
/// Rounds of SIGKILL. A process that still lives then cannot be killed (state D).
const KILL_ROUNDS: u32 = 50;

/// The progress of the shutdown.
#[derive(Debug)]
pub(super) struct Shutdown {
    next: Next,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Terminate,
    Kill { rounds: u32 },
    GiveUp,
}

impl Shutdown {
    /// Begins with SIGHUP to every process.
    pub(super) fn begin(all: &Descendants) -> Self {
        all.signal(&[Signal::SIGHUP, Signal::SIGCONT]);
        Shutdown { next: Next::Terminate, at: after(GRACE_HANGUP) }
    }

    /// The longest that epoll may wait, rounded up so that it does not return early.
    pub(super) fn timeout(&self) -> EpollTimeout {
        let left = self.at.saturating_duration_since(Instant::now());
        let left = left.as_millis().saturating_add(1);
        u16::try_from(left).map_or(EpollTimeout::MAX, EpollTimeout::from)
    }

    /// Takes the next step when its time has come. `all` is asked for only then: a turn of the loop
    /// comes for every process that ends.
    pub(super) fn advance(&mut self, all: impl FnOnce() -> Descendants) {
        if Instant::now() < self.at {
            return;
        }
        let all = all();
        match self.next {
            Next::Terminate => {
                all.signal(&[Signal::SIGTERM, Signal::SIGCONT]);
                *self = Shutdown { next: Next::Kill { rounds: 0 }, at: after(GRACE_TERMINATE) };
            }
            Next::Kill { rounds } => {
                all.signal(&[Signal::SIGKILL]);
                let next = match rounds.saturating_add(1) {
                    KILL_ROUNDS => Next::GiveUp,
                    rounds => Next::Kill { rounds },
                };
                *self = Shutdown { next, at: after(KILL_ROUND) };
            }
            Next::GiveUp => {}
        }
    }

    /// Whether nothing is left to be done. `dead` says whether all leaders are dead, and all of
    /// their output is read, as far as there is room.
    pub(super) fn is_over(&self, dead: bool, all: impl FnOnce() -> Descendants) -> bool {
        if self.next == Next::GiveUp {
            return true;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Any answer but ECHILD means that there is a child: nix has no name for a real-time
        // signal.
        dead && waitid(Id::All, flags) == Err(Errno::ECHILD) && all().find().is_empty()
    }
}

fn after(grace: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(grace).unwrap_or(now)
}

/// All processes of all sessions.
pub(super) struct Descendants {
    guardian: i32,
    /// Sessions whose leaders live.
    trees: Vec<Tree>,
}

impl Descendants {
    pub(super) fn of(shared: &SharedState, sessions: &mut Sessions) -> Self {
        let guardian = i32::try_from(shared.header().guardian.load(Relaxed)).unwrap_or(0);
        let boot_id = tree::boot_id().unwrap_or_default();
        let living = sessions.table.iter_mut().filter(|session| session.exit.is_none());
        let trees = living.map(|session| Tree {
            id: session.id,
            leader: Some(ProcessId {
                pid: session.leader.as_raw(),
                start_time: session.start_time,
                boot_id: boot_id.clone(),
            }),
            keepers: Some(Keepers { holder: getpid().as_raw(), guardian: Some(guardian) }),
        });
        Descendants { guardian, trees: trees.collect() }
    }

    /// The processes, children before their parents, from one walk. Without a free descriptor nothing is found,
    /// and the next round tries again.
    fn find(&self) -> Vec<Member> {
        let us = [self.guardian, getpid().as_raw()];
        let root = if self.guardian > 0 { self.guardian } else { getpid().as_raw() };
        let mut found = tree::descendants_and_members(root, &self.trees).unwrap_or_default();
        found.retain(|member| !us.contains(&member.pid));
        found
    }

    /// Signals every process. Each is verified first: those that are not our own children may be
    /// reaped at any time, and their pids reused.
    fn signal(&self, signals: &[Signal]) {
        for member in self.find() {
            for signal in signals {
                // The process may be gone already.
                let _ = member.signal(*signal as i32);
            }
        }
    }
}
