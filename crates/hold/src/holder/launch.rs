//! Starts processes as leaders of sessions of their own, without `fork`: copying the page tables of
//! a large server would take time, but posix_spawn costs the same in every process.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Creates a new session before the file actions, so that the terminal opened as descriptor 0
/// becomes the controlling one. nix has no name for it.
const POSIX_SPAWN_SETSID: libc::c_int = 0x80;
/// Passed descriptors are first moved to this number and beyond, out of the way of the numbers that
/// they get in the child.
const PARKED: RawFd = 10;

/// The program to start.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) args: &'a [CString],
    pub(super) env: &'a [CString],
    /// Opened for reading and writing as descriptors 0, 1 and 2.
    pub(super) stdio: &'a Path,
    /// Our descriptors, and the numbers below [`PARKED`] under which the child gets them.
    pub(super) pass: &'a [(BorrowedFd<'a>, RawFd)],
}

impl Start<'_> {
    /// Starts the program as leader of a new session, with default signal handling and no blocked
    /// signals.
    pub(super) fn spawn(&self) -> Result<Pid, Errno> {
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_sigdefault(&SigSet::all())?;
        attributes.set_sigmask(&SigSet::empty())?;
        attributes.set_flags(
            PosixSpawnFlags::from_bits_retain(POSIX_SPAWN_SETSID)
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
        )?;
        let mut actions = PosixSpawnFileActions::init()?;
        let mut parked = Vec::with_capacity(self.pass.len());
        for (fd, number) in self.pass {
            let fd = park(*fd)?;
            actions.add_dup2(fd.as_raw_fd(), *number)?;
            parked.push(fd);
        }
        actions.add_open(0, self.stdio, OFlag::O_RDWR, Mode::empty())?;
        actions.add_dup2(0, 1)?;
        actions.add_dup2(0, 2)?;
        posix_spawn(self.program, &actions, &attributes, self.args, self.env)
    }
}

#[allow(unsafe_code)]
fn park(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let fd = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(PARKED))?;
    // SAFETY: a fresh descriptor that nothing else uses.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
