//! The state directory: one server uses it at a time, and leaves its address there.

use super::error::ServeError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The pause between two attempts to lock. A command that checks whether a server runs holds the
/// lock for some microseconds, so that one failed attempt means nothing.
const LOCK_RETRY: Duration = Duration::from_millis(10);
/// A lock that is held for longer than this is another server's.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

/// Locks the state directory, which one server may use at a time. The lock ends with the process,
/// however that ends.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, ServeError> {
    let path = dir.join("lock");
    let state = |error: io::Error| ServeError::State { path: path.clone(), error };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(state)?;
    let start = Instant::now();
    let mut locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    while let Err((file, Errno::EWOULDBLOCK)) = locked {
        if start.elapsed() > LOCK_PATIENCE {
            locked = Err((file, Errno::EWOULDBLOCK));
            break;
        }
        std::thread::sleep(LOCK_RETRY);
        locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    }
    match locked {
        Ok(mut lock) => {
            overwrite(&mut lock, &format!("{}\n", std::process::id())).map_err(state)?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            // The process id is only for the message.
            let _ = file.read_to_string(&mut pid);
            let (pid, dir) = (pid.trim(), dir.display());
            let used =
                format!("another server (process {pid}) uses {dir}; stop it with `stayd stop`");
            Err(ServeError::Failed(used))
        }
    }
}

/// Writes a file that nobody else can read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), ServeError> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let written = opened.and_then(|mut file| overwrite(&mut file, &format!("{text}\n")));
    written.map_err(|error| ServeError::State { path: path.to_owned(), error })
}

/// Writes in place, so that the file of an earlier server can be overwritten on a full disk: the
/// sessions of that server run on and must be reachable again.
fn overwrite(file: &mut File, text: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
