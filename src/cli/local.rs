//! Finds the server of a state directory, by its lock and its unix socket.
//!
//! A server that was killed leaves its socket, and whoever has put another in its place is asked
//! nothing: the peer must be a process of the directory's owner, or of root, while the server that
//! was found holds the directory's lock.

use super::failure::Failure;
use crate::connections::local;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that a server keeps locked, in its state directory.
const LOCK: &str = "lock";

/// A server that held the lock of its state directory when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalServer {
    /// The state directory.
    dir: PathBuf,
    /// The process id that it has written into the lock's file.
    pid: String,
    /// The user whose directory it is.
    owner: u32,
}

impl LocalServer {
    /// Finds the server of a state directory.
    pub(super) fn find(dir: &Path) -> Result<LocalServer, Failure> {
        match holder_of(&dir.join(LOCK))? {
            Some((pid, owner)) => Ok(LocalServer { dir: dir.to_owned(), pid, owner }),
            None => Err(Failure::NoServer { at: dir.display().to_string() }),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(local::SOCKET)
    }

    /// Whether a process of this user may be the server: a process of another user that listens
    /// is not. Root could be the server anyway.
    pub(super) fn may_be(&self, uid: u32) -> bool {
        uid == self.owner || uid == 0
    }

    /// Whether the server is this process.
    pub(super) fn is(&self, pid: i32) -> bool {
        self.pid.trim().parse() == Ok(pid)
    }

    /// Whether the server still holds the lock. Call it once a connection is open: if it does, the
    /// server was alive when the connection was made, and is its peer.
    pub(super) fn still_runs(&self) -> bool {
        let holder = holder_of(&self.dir.join(LOCK)).ok().flatten();
        holder.is_some_and(|(pid, _)| pid == self.pid)
    }
}

/// The addresses in the file `listen`, with their schemes.
pub(super) fn places(text: &str) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    text.split_whitespace().filter_map(|word| {
        let (scheme, address) = match word.strip_prefix("https://") {
            Some(address) => ("https", address),
            None => ("http", word),
        };
        Some((scheme, address.parse().ok()?))
    })
}

/// The process id that the holder of a lock (flock(2)) has written into the file, and the file's
/// owner; `None` if nobody holds the lock.
fn holder_of(path: &Path) -> Result<Option<(String, u32)>, Failure> {
    if !is_locked(path)? {
        return Ok(None);
    }
    let failed = |e: io::Error| Failure::Other(format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let mut pid = String::new();
    file.read_to_string(&mut pid).map_err(failed)?;
    Ok(Some((pid, file.metadata().map_err(failed)?.uid())))
}

/// Whether a process holds the lock of a file. The check takes a shared lock for a moment; a server
/// that starts in that moment tries again.
pub(super) fn is_locked(path: &Path) -> Result<bool, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Failure::Other(format!("{}: {e}", path.display()))),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, e)) => Err(Failure::Other(format!("{}: {e}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_there_while_it_holds_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let find = || LocalServer::find(dir.path());
        let is_nobody =
            |found: Result<LocalServer, Failure>| matches!(found, Err(Failure::NoServer { .. }));
        assert!(is_nobody(find()), "no lock");
        std::fs::write(&path, "7\n").unwrap();
        assert!(is_nobody(find()), "nobody holds it");
        let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        let server = find().unwrap();
        assert!(server.still_runs());
        std::fs::write(&path, "8\n").unwrap();
        assert!(!server.still_runs(), "another one");
        std::fs::write(
            &path, "7
",
        )
        .unwrap();
        drop(lock);
        assert!(!server.still_runs());
    }
}
