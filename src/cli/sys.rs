//! System calls of the verbs: a process held by descriptor or started in the background, a window's
//! size.

use super::serve::BACKGROUND_ENV;
use crate::pty;
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process referred to by a pidfd (pidfd_open(2)), so that it cannot be confused with a later one
/// of the same id.
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

impl Process {
    /// Opens a process; `None` if there is none.
    pub(super) fn open(pid: i32) -> io::Result<Option<Process>> {
        match pidfd::open(pid) {
            Ok(fd) => Ok(Some(Process(fd))),
            Err(error) if gone(&error) || error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the process a signal. It is no error if the process is already gone.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        match pidfd::send(self.0.as_fd(), signal) {
            Err(error) if !gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits for the process's end. Returns whether it came in time.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        readable(self.0.as_fd(), PollFlags::POLLIN, limit)
    }
}

/// A child process of ours that is left alone when we end.
#[derive(Debug)]
pub(super) struct Detached(Pid);

impl Detached {
    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.0.as_raw()
    }

    /// Ends it by SIGTERM, and waits for that.
    pub(super) fn end(&self) -> io::Result<()> {
        // Until somebody waits for it, its id is nobody else's.
        if !self.has_ended()? {
            kill(self.0, Signal::SIGTERM)?;
            waitpid(self.0, None)?;
        }
        Ok(())
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        match waitpid(self.0, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => Ok(false),
            Ok(_) | Err(Errno::ECHILD) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }
}

/// Creates a new session (setsid(2)), so that neither Ctrl-C nor the end of our terminal reaches the
/// process. nix has no name for it.
const POSIX_SPAWN_SETSID: libc::c_int = 0x80;

/// Starts a program in the background: without our terminal, in a session of its own, with nothing to
/// read, and its standard output and error in a file.
pub(super) fn spawn_detached(
    program: &Path,
    arguments: &[OsString],
    output: &File,
) -> io::Result<Detached> {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let arguments = std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    let variable = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let marked = std::env::vars_os().chain([(BACKGROUND_ENV.into(), "1".into())]);
    let environment = marked.map(variable).collect::<Result<Vec<_>, _>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::from_bits_retain(POSIX_SPAWN_SETSID))?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_open(0, "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    for number in [1, 2] {
        actions.add_dup2(output.as_raw_fd(), number)?;
    }
    Ok(Detached(posix_spawn(program, &actions, &attributes, &arguments, &environment)?))
}

/// Waits until a descriptor is ready. Returns whether it was in time.
pub(super) fn readable(fd: BorrowedFd<'_>, what: PollFlags, limit: Duration) -> io::Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, what)], left) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Columns and rows of a terminal; `None` if the descriptor is no terminal, or its size is unknown.
pub(super) fn window(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    pty::size(fd).ok().filter(|&(cols, rows)| cols > 0 && rows > 0)
}

fn gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_ended_and_its_end_is_seen() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::open(child.id() as i32).unwrap().unwrap();
        assert!(!process.wait(Duration::ZERO).unwrap());
        process.signal(libc::SIGTERM).unwrap();
        assert!(process.wait(Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        process.signal(libc::SIGTERM).unwrap();
        assert!(Process::open(child.id() as i32).unwrap().is_none());
    }

    #[test]
    fn only_terminals_have_a_window() {
        let size = libc::winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(&size, None).unwrap();
        assert_eq!(window(pty.slave.as_fd()), Some((101, 33)));
        assert_eq!(window(std::fs::File::open("/dev/null").unwrap().as_fd()), None);
    }
}
