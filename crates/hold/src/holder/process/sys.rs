//! Deaths and signals by number. nix has no names for the real-time signals: its `waitid` answers
//! `EINVAL` for a child that one of them has ended, after the kernel has reaped it, and its `kill`
//! cannot send them.
#![allow(unsafe_code)]

use crate::exit::Exit;
use nix::errno::Errno;
use nix::unistd::Pid;

/// Reaps one child that has exited; `None` if there is none (waitpid(2)).
pub(super) fn reap_one() -> Option<(Pid, Exit)> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: the status is written to an integer of ours that outlives the call.
        match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
            Err(Errno::EINTR) => {}
            Ok(pid) if pid > 0 => break Pid::from_raw(pid),
            // 0: there are children, but none has exited.
            Ok(_) | Err(_) => return None,
        }
    };
    // Without WUNTRACED and WCONTINUED only deaths are reported.
    let exit = if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    };
    Some((pid, exit))
}

/// Sends a signal to a process (kill(2)). The number 0 only tests whether it exists.
pub(super) fn kill(process: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(process.as_raw(), signal) }).map(drop)
}

/// Sends a signal to a process group (killpg(3)).
pub(super) fn kill_group(group: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: killpg takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::killpg(group.as_raw(), signal) }).map(drop)
}
