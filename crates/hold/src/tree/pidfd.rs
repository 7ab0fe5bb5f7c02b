//! System calls that neither std nor nix offers: a process by descriptor, which no reuse
//! of its pid can turn into another process, and the limit that marks a session's.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A descriptor of the process that has this pid now; it polls readable once every thread
/// of it is gone (pidfd_open(2)). Close-on-exec.
///
/// # Errors
/// `ESRCH`: no such process; `EMFILE`/`ENFILE`: no descriptor is free.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `SO_PEERPIDFD` (Linux 6.5), which libc does not name everywhere; the same number on all of the
/// machines that Linux 6.5 runs on but parisc and sparc.
const SO_PEERPIDFD: libc::c_int = 77;

/// A descriptor of the process that made the connection at the other end of a unix socket, whose
/// pid `SO_PEERCRED` says. An older kernel only knows that pid: then it is the process that has it
/// now.
///
/// # Errors
/// `ESRCH`: that process is gone; else as [`open`].
pub fn of_peer(socket: BorrowedFd<'_>, pid: i32) -> io::Result<OwnedFd> {
    let (mut fd, mut length) = (-1 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to an integer of ours that outlives the
    // call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut length,
        )
    };
    if result == 0 && fd >= 0 {
        // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) && pid > 0 => open(pid),
        error => Err(error),
    }
}

/// Whether every thread of the process is gone.
#[must_use]
pub fn is_over(process: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure of ours, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) != 0 }
}

/// Sends a signal to exactly this process (pidfd_send_signal(2)).
///
/// # Errors
/// `ESRCH`: it is gone; `EPERM`: it is not ours to signal; `EINVAL`: no such signal.
pub fn send(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed; a null siginfo is
    // allowed and makes the kernel fill in what kill(2) would.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            libc::c_long::from(process.as_raw_fd()),
            libc::c_long::from(signal),
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The soft `RLIMIT_RTTIME` of the process with this pid, in microseconds (prlimit(2)).
///
/// # Errors
/// `ESRCH`: no such process; `EPERM`: it is another user's.
pub(super) fn realtime_limit(pid: i32) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new limit is given, and the old one is written to a struct of ours that
    // outlives the call.
    let result =
        unsafe { libc::prlimit(pid, libc::RLIMIT_RTTIME, std::ptr::null(), &raw mut limit) };
    if result == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}
