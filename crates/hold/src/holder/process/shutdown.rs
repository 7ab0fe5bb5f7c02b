//! The holder's shutdown: on SIGTERM it ends everything that runs under it, and then itself.
//!
//! The holder is the subreaper of all its sessions, so that their processes are its descendants,
//! even those that have left their session. When it has no children left, it has no descendants.

use crate::tree;
use nix::errno::Errno;
use nix::sys::epoll::EpollTimeout;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::getpid;
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
    pub(super) fn begin() -> Self {
        signal_descendants(&[Signal::SIGHUP, Signal::SIGCONT]);
        Shutdown { next: Next::Terminate, at: after(GRACE_HANGUP) }
    }

    /// The longest that epoll may wait, rounded up so that it does not return early.
    pub(super) fn timeout(&self) -> EpollTimeout {
        let left = self.at.saturating_duration_since(Instant::now());
        let left = left.as_millis().saturating_add(1);
        u16::try_from(left).map_or(EpollTimeout::MAX, EpollTimeout::from)
    }

    /// Takes the next step when its time has come.
    pub(super) fn advance(&mut self) {
        if Instant::now() < self.at {
            return;
        }
        match self.next {
            Next::Terminate => {
                signal_descendants(&[Signal::SIGTERM, Signal::SIGCONT]);
                *self = Shutdown { next: Next::Kill { rounds: 0 }, at: after(GRACE_TERMINATE) };
            }
            Next::Kill { rounds } => {
                signal_descendants(&[Signal::SIGKILL]);
                let next = match rounds.saturating_add(1) {
                    KILL_ROUNDS => Next::GiveUp,
                    rounds => Next::Kill { rounds },
                };
                *self = Shutdown { next, at: after(KILL_ROUND) };
            }
            Next::GiveUp => {}
        }
    }

    /// Whether nothing is left to be done. `read` says whether all output of dead processes is
    /// read, as far as there is room.
    pub(super) fn is_over(&self, read: bool) -> bool {
        if self.next == Next::GiveUp {
            return true;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Any answer but ECHILD means that there is a child: nix has no name for a real-time
        // signal.
        read && waitid(Id::All, flags) == Err(Errno::ECHILD)
    }
}

fn after(grace: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(grace).unwrap_or(now)
}

/// Signals every process below this one, children before their parents. Each is verified first:
/// those that are not our own children may be reaped at any time, and their pids reused.
fn signal_descendants(signals: &[Signal]) {
    // Without a free descriptor nothing is found, and the next round tries again.
    for member in tree::descendants(getpid().as_raw()).unwrap_or_default() {
        for signal in signals {
            // The process may be gone already.
            let _ = member.signal(*signal as i32);
        }
    }
}
