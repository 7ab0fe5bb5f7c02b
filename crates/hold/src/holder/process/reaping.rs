//! Reaps children, of the holder or of its guardian, and notes the exits of leaders.

use super::sys;
use crate::exit::Exit;
use crate::holder::shared::{SharedState, Slot};
use crate::tree;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpid};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Reaps every child that has exited but `holder`, whose exit it returns. `leads` finds the
/// session that a process may lead. The exit is noted before the child is reaped: a process that
/// dies in between leaves both to its successor.
pub(super) fn reap(
    shared: &Arc<SharedState>,
    holder: Option<Pid>,
    mut leads: impl FnMut(Pid) -> Option<Slot>,
    mut noted: impl FnMut(Pid),
) -> Option<Exit> {
    while let Some((pid, exit)) = sys::exited_child() {
        if Some(pid) == holder {
            return Some(exit);
        }
        match leads(pid).filter(|slot| is_unreaped(slot, pid)) {
            Some(slot) => {
                slot.set_exit(exit);
                sys::reap(pid);
                noted(pid);
            }
            None => {
                shared.header().stats.orphans_reaped.fetch_add(1, Relaxed);
                sys::reap(pid);
            }
        }
    }
    None
}

/// Whether a dead child is the leader of this session, and not a later process with its pid.
fn is_unreaped(slot: &Slot, pid: Pid) -> bool {
    let gone = |process: BorrowedFd<'_>| {
        let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let [found] = fds;
        polled.is_ok() && found.revents().is_some_and(|found| found.contains(PollFlags::POLLHUP))
    };
    slot.is_live()
        && slot.leader() == pid
        && slot.exit().is_none()
        && !slot.process().is_some_and(|process| gone(process.as_fd()))
}

/// The slot of the session that a process leads.
pub(super) fn slot_led_by(shared: &Arc<SharedState>, pid: Pid) -> Option<Slot> {
    Slot::live(shared).into_iter().find(|slot| slot.leader() == pid && slot.exit().is_none())
}

/// Whether a leader is gone, without anybody who would tell how.
pub(super) fn is_lost(leader: Pid, process: BorrowedFd<'_>) -> bool {
    tree::pidfd::is_over(process) && kill(leader, None) == Err(Errno::ESRCH)
}

/// This process's id, as a word of the shared state.
pub(super) fn own_pid() -> u64 {
    u64::try_from(getpid().as_raw()).unwrap_or(0)
}
