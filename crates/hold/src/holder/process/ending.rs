//! SIGTERM: everything that runs under the holder is ended, and then the holder.
//!
//! The holder is the subreaper of all its sessions, so its descendants are theirs, however
//! they may have left their session, and when it has no children it has no descendants.

use crate::tree;
use nix::errno::Errno;
use nix::sys::epoll::EpollTimeout;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::getpid;
use std::time::{Duration, Instant};

/// From SIGHUP to SIGTERM.
const GRACE_HANGUP: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL.
const GRACE_TERMINATE: Duration = Duration::from_secs(2);
/// Between rounds of SIGKILL: a process may have forked while the last was under way.
const KILL_ROUND: Duration = Duration::from_millis(100);
/// Rounds of SIGKILL. What then still lives cannot be killed (state D).
const KILL_ROUNDS: u32 = 50;

/// The progress of the end.
#[derive(Debug)]
pub(super) struct Ending {
    next: Next,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Terminate,
    Kill { rounds: u32 },
    GiveUp,
}

impl Ending {
    /// Hangs up on everything.
    pub(super) fn begin() -> Self {
        signal_descendants(&[Signal::SIGHUP, Signal::SIGCONT]);
        Ending { next: Next::Terminate, at: after(GRACE_HANGUP) }
    }

    /// The time that epoll may wait, rounded up so that it does not come early.
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
                *self = Ending { next: Next::Kill { rounds: 0 }, at: after(GRACE_TERMINATE) };
            }
            Next::Kill { rounds } => {
                signal_descendants(&[Signal::SIGKILL]);
                let next = match rounds.saturating_add(1) {
                    KILL_ROUNDS => Next::GiveUp,
                    rounds => Next::Kill { rounds },
                };
                *self = Ending { next, at: after(KILL_ROUND) };
            }
            Next::GiveUp => {}
        }
    }

    /// True once nothing is left to be done. What the dead have written is `read` as far as
    /// there is room for it.
    pub(super) fn is_over(&self, read: bool) -> bool {
        if self.next == Next::GiveUp {
            return true;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Whatever else it answers, there is a child: nix has no word for a real-time signal.
        read && waitid(Id::All, flags) == Err(Errno::ECHILD)
    }
}

fn after(grace: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(grace).unwrap_or(now)
}

/// Signals every process below this one, children before their parents. Each is verified
/// first: others than our own children may be reaped at any time, and their pids reused.
fn signal_descendants(signals: &[Signal]) {
    // Without a free descriptor nobody is found; there is another round.
    for member in tree::descendants(getpid().as_raw()).unwrap_or_default() {
        for signal in signals {
            // It may have gone meanwhile.
            let _ = member.signal(*signal as i32);
        }
    }
}
