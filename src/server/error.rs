//! Why a server does not start.

use crate::connections::{Exposed, TlsError};
use crate::holder::HolderError;
use crate::http::HostsError;
use crate::private::NotPrivate;
use crate::store::OpenError;
use nix::sys::statvfs::statvfs;
use std::io;
use std::path::{Path, PathBuf};

/// With less free space than this a failed start is blamed on the full disk. A new state directory
/// takes 110 KiB.
const ROOM_KIB: u64 = 512;

/// Why the server did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address would be open to the network without TLS.
    #[error("{0}")]
    Exposed(#[from] Exposed),
    /// The certificate or its key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A file of the state directory cannot be used.
    #[error("{}: {error}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The state directory, or something in it, is not ours alone.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The holder can be neither found nor started.
    #[error("the holder: {0}")]
    Holder(#[from] HolderError),
    /// A host or an origin in the settings is malformed.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// The server started and then could not continue.
    #[error("{0}")]
    Failed(String),
    /// The runtime failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Turns an error on a full disk into one that says so. The errors of SQLite and the holder do not.
pub(super) fn or_no_room(error: ServeError, dir: &Path) -> ServeError {
    let of_disk = matches!(
        error,
        ServeError::State { .. } | ServeError::Store(_) | ServeError::Holder(_) | ServeError::Io(_)
    );
    let Some(room) = statvfs(dir).ok().filter(|_| of_disk) else { return error };
    let free_kib = room.blocks_available().saturating_mul(room.fragment_size()) >> 10;
    let free_files = room.files_available();
    // Some file systems have no limit on files.
    let is_full = free_kib < ROOM_KIB || (free_files == 0 && room.files() > 0);
    if !is_full {
        return error;
    }
    let dir = dir.display();
    ServeError::Failed(format!(
        "no room is left on the file system of {dir} ({free_kib} KiB, {free_files} files): make some \
         there and start again; {dir}/recordings is a place to begin. What failed: {error}"
    ))
}
