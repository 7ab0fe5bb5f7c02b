//! Pseudo-terminals and the few other calls on descriptors that need `unsafe`.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getsid, tcgetpgrp};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

nix::ioctl_write_ptr_bad!(
    /// See TIOCSWINSZ(2const).
    set_window_size,
    libc::TIOCSWINSZ,
    libc::winsize
);
nix::ioctl_read_bad!(
    /// See TIOCSWINSZ(2const).
    get_window_size,
    libc::TIOCGWINSZ,
    libc::winsize
);

/// A new pseudo-terminal, which is nobody's controlling terminal yet.
#[derive(Debug)]
pub struct Pty {
    /// The holder's side, non-blocking.
    pub master: OwnedFd,
    /// The program's side. While it is open anywhere, the master never reads EIO.
    pub slave: OwnedFd,
    /// The path through which the program opens its side.
    pub path: PathBuf,
}

/// Opens a pair of the given size, whose line editing knows UTF-8.
///
/// # Errors
/// `ENOSPC`: the kernel's `kernel.pty.max` is reached. `EMFILE`, `ENFILE`: no descriptor is free.
pub fn open(cols: u16, rows: u16) -> Result<Pty, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let master = posix_openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = PathBuf::from(ptsname_r(&master)?);
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let slave = open_file(&path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    settings.input_flags |= InputFlags::IUTF8;
    tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
    set_size(slave.as_fd(), cols, rows)?;
    Ok(Pty { master: master.into(), slave, path })
}

/// Changes the terminal's size. Its foreground group gets SIGWINCH if the size is new.
///
/// # Errors
/// The descriptor is no terminal.
pub fn set_size(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives through the call.
    unsafe { set_window_size(terminal.as_raw_fd(), &raw const size) }.map(|_| ())
}

/// The terminal's size in columns and rows.
///
/// # Errors
/// The descriptor is no terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives through the call.
    unsafe { get_window_size(terminal.as_raw_fd(), &raw mut size) }?;
    Ok((size.ws_col, size.ws_row))
}

/// The foreground process group of the terminal, if it belongs to the session that `leader` leads.
/// The check is needed because the kernel still returns the number of a group that has died, and
/// numbers are reused.
#[must_use]
pub fn foreground_group(master: BorrowedFd<'_>, leader: Pid) -> Option<Pid> {
    let group = tcgetpgrp(master).ok().filter(|group| group.as_raw() > 1)?;
    match getsid(Some(group)) {
        Ok(session) if session == leader => Some(group),
        // The group's first process has exited, but the number stays the group's while others are
        // in it.
        Err(Errno::ESRCH) => Some(group),
        _ => None,
    }
}

/// Sets every signal to its default action, for a program that is about to be executed: Rust's
/// runtime ignores SIGPIPE, and glibc's posix_spawn(3) leaves its two internal real-time signals
/// ignored. No handler may be in use any more.
pub fn default_signals() {
    /// The size of the kernel's signal set (`sigsetsize` of rt_sigaction(2)), in bytes.
    const SET: usize = 8;
    // Handler, flags, restorer and mask: all zero, which is the default action.
    let default = [0_u64; 8];
    for number in 1..=64 {
        // SAFETY: the kernel reads at most 32 bytes of the 64. glibc's sigaction(3) would refuse
        // its own two signals; the kernel refuses SIGKILL and SIGSTOP, whose action is the default
        // anyway.
        unsafe {
            let none = std::ptr::null::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, SET);
        }
    }
    // This cannot fail for a valid set.
    let _ = SigSet::empty().thread_set_mask();
}

/// Undoes a parent's signal settings that would harm us. Signals that it has blocked (an oversight
/// of a shell or service manager) would never reach us, so that nothing could stop us, and while
/// SIGCHLD is ignored the kernel keeps no exit status. Other ignored signals stay ignored, as
/// `nohup` and shells that start background jobs intend. Call it at the start of a process, before
/// there are threads.
pub fn reset_signals() {
    // Neither can fail for a valid set and a valid signal.
    let _ = SigSet::empty().thread_set_mask();
    // SAFETY: the default action is no handler of ours.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}

/// Whether a signal was ignored when this process was started, and still is (`nohup`, `cmd &` in a
/// script), so that it is not meant for us.
#[must_use]
pub fn is_ignored(number: i32) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action it only writes the present one, for which there is room;
    // all zeroes is a valid value should it fail.
    let found = unsafe {
        libc::sigaction(number, std::ptr::null(), found.as_mut_ptr());
        found.assume_init()
    };
    found.sa_sigaction == libc::SIG_IGN
}

/// The descriptor that a parent has passed under this number, if it has. Call it once for a number,
/// at the start of a process.
#[must_use]
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    if number < 0 {
        return None;
    }
    // SAFETY: only asked whether it is open; the borrow ends here.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it is open, and the parent passed it for us to own.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes all descriptors above stdio but `keep`: others that a parent left open would stay open
/// for as long as this process lives. Call it before anything is opened.
pub fn close_inherited(keep: Option<RawFd>) {
    let range = |first: u32, last: u32| {
        if first <= last {
            // SAFETY: at the start of the process nothing owns a descriptor in the range. Kernels
            // before 5.9 do not know the call, and the descriptors stay open.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    match keep.and_then(|fd| u32::try_from(fd).ok()).filter(|fd| *fd > 2) {
        Some(keep) => {
            range(3, keep.saturating_sub(1));
            range(keep.saturating_add(1), u32::MAX);
        }
        None => range(3, u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pty_has_its_size_and_knows_utf8() {
        let pty = open(132, 43).unwrap();
        assert_eq!(size(pty.slave.as_fd()), Ok((132, 43)));
        set_size(pty.master.as_fd(), 80, 24).unwrap();
        assert_eq!(size(pty.slave.as_fd()), Ok((80, 24)));
        let settings = tcgetattr(&pty.slave).unwrap();
        assert!(settings.input_flags.contains(InputFlags::IUTF8));
    }

    #[test]
    fn the_master_ends_only_when_the_last_slave_is_closed() {
        let pty = open(80, 24).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(nix::unistd::read(&pty.master, &mut buffer), Err(Errno::EAGAIN));
        nix::unistd::write(&pty.slave, b"x").unwrap();
        drop(pty.slave);
        assert_eq!(nix::unistd::read(&pty.master, &mut buffer), Ok(1));
        assert_eq!(nix::unistd::read(&pty.master, &mut buffer), Err(Errno::EIO));
    }

    #[test]
    fn a_terminal_of_nobody_has_no_foreground_group() {
        let pty = open(80, 24).unwrap();
        assert_eq!(foreground_group(pty.master.as_fd(), Pid::from_raw(1)), None);
    }
}
