//! The unix socket in the state directory: made, and who connects to it.
//!
//! Whoever has no descriptor to spare cannot let anybody in. So that the owner can (to take a token
//! away, to end what has taken them all), some are kept for the unix socket alone.

use nix::fcntl::{OFlag, open};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Backlog, getsockopt, listen};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until};

/// The socket's name in the state directory.
pub const SOCKET: &str = "server.sock";
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Descriptors that are kept: a connection, its peer's pidfd, what is read in /proc of that peer,
/// and room for whoever else takes one meanwhile.
const SPARES: usize = 8;
/// How long after they were given up they are taken again, if they can be.
const SPARES_AFTER: Duration = Duration::from_secs(1);
/// How long after a failure without spares the next attempt is made.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Listens in a state directory, in place of whatever a dead server has left: the caller holds the
/// directory's lock.
///
/// # Errors
/// What the system says.
pub fn listen_in(directory: &Path) -> io::Result<UnixListener> {
    let directory = open_directory(directory)?;
    match unlinkat(&directory, SOCKET, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::Error::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    // The file must never be open to others, not even between bind and chmod.
    let mask = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(short_path(&directory));
    umask(mask);
    let listener = bound?;
    // The standard library listens with 128; listening again changes only that number.
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

/// Accepts also if the process may open no further file.
pub(super) struct LocalListener {
    listener: tokio::net::UnixListener,
    spares: Vec<OwnedFd>,
    /// When they were given up.
    gone: Option<Instant>,
}

impl LocalListener {
    /// Takes the spare descriptors. Within a runtime that lasts.
    pub(super) fn new(listener: UnixListener) -> io::Result<LocalListener> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let mut this = LocalListener { listener, spares: Vec::with_capacity(SPARES), gone: None };
        this.keep_spares();
        Ok(this)
    }

    /// Those that can be had.
    fn keep_spares(&mut self) {
        self.gone = None;
        while self.spares.len() < SPARES {
            match self.listener.as_fd().try_clone_to_owned() {
                Ok(spare) => self.spares.push(spare),
                Err(_) => {
                    self.gone = Some(Instant::now());
                    return;
                }
            }
        }
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&mut self) -> UnixStream {
        loop {
            let accepted = match self.gone {
                None => self.listener.accept().await,
                Some(gone) => tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    () = sleep_until(gone + SPARES_AFTER) => {
                        self.keep_spares();
                        continue;
                    }
                },
            };
            match accepted {
                Ok((stream, _)) => return stream,
                // EMFILE, ENFILE, or no memory: the next attempt follows at once, before somebody
                // else takes what has become free.
                Err(_) if !self.spares.is_empty() => {
                    self.spares.clear();
                    self.gone = Some(Instant::now());
                }
                Err(_) => sleep(AGAIN_AFTER).await,
            }
        }
    }
}

/// The state directory as a descriptor, for [`short_path`].
///
/// # Errors
/// What the system says.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// The socket's path as an address: those are at most 108 bytes long, and through the directory's
/// descriptor a path of any length is short. Good while the descriptor is open.
#[must_use]
pub fn short_path(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())
}

/// The process that made a connection (`SO_PEERCRED`, unix(7)), or of a listener that was connected
/// to: its process id (0: none that can be seen from here) and its user's.
///
/// # Errors
/// What the system says.
pub fn credentials(socket: &impl AsFd) -> io::Result<(i32, u32)> {
    let peer = getsockopt(&socket.as_fd(), PeerCredentials)?;
    Ok((peer.pid(), peer.uid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_long_path_and_a_stale_socket_are_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        drop(listen_in(&deep).unwrap());
        assert!(deep.join(SOCKET).symlink_metadata().is_ok(), "it is left behind");
        let listener = listen_in(&deep).unwrap();
        assert_eq!(deep.join(SOCKET).metadata().unwrap().mode() & 0o777, 0o600);
        let directory = open_directory(&deep).unwrap();
        let client = UnixStream::connect(short_path(&directory)).unwrap();
        let (served, _) = listener.accept().unwrap();
        let us = (std::process::id() as i32, nix::unistd::geteuid().as_raw());
        assert_eq!(credentials(&served).unwrap(), us);
        assert_eq!(credentials(&client).unwrap(), us);
    }
}
