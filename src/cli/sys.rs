//! System calls of the verbs: a process held by descriptor, a window's size.

use crate::pty;
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
