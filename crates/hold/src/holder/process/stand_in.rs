//! What `stayd hold` does under a service manager when another holder has the state directory: it
//! waits for that one's end and then holds sessions itself, and asks that one to end when it is
//! asked to end itself. So the manager's unit stands for the holder, whoever has started it.
//!
//! It happens after holder and guardian were killed together: as long as a process of a session is
//! left, the unit does not end, and the server starts a holder of its own.

use super::pid_file;
use crate::holder::paths::GUARDIAN_FILE;
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// The pause, in milliseconds, before another look when a guardian has just died: its holder takes
/// its place, or nobody, and no event tells.
const AGAIN: u16 = 20;

/// Why the waiting is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The guardian of that moment has ended: the directory may be free.
    Ended,
    /// This process is to end, and that guardian has been told.
    Asked,
}

/// Waits for the end of the guardian that a state directory names, or for SIGTERM or SIGINT, which
/// have to be blocked.
///
/// # Errors
/// No descriptor is free.
pub(super) fn wait(directory: BorrowedFd<'_>) -> Result<Over, Errno> {
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    wanted.add(Signal::SIGINT);
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC)?;
    let guardian = pid_file::read(directory, GUARDIAN_FILE);
    let process = guardian.and_then(|pid| pidfd::open(pid).ok());
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    fds.extend(process.as_ref().map(|process| PollFd::new(process.as_fd(), PollFlags::POLLIN)));
    let timeout = if process.is_some() { PollTimeout::NONE } else { PollTimeout::from(AGAIN) };
    while poll(&mut fds, timeout) == Err(Errno::EINTR) {}
    let is_asked = fds.first().and_then(PollFd::any).unwrap_or(false);
    if !is_asked {
        return Ok(Over::Ended);
    }
    if let Some(process) = &process {
        // One that has ended meanwhile has nothing to end.
        let _ = pidfd::send(process.as_fd(), libc::SIGTERM);
    }
    Ok(Over::Asked)
}
