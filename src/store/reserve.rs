//! A file of a fixed size that is given up when the disk is full, so that what takes rights away
//! can still be written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file beside the database.
const FILE: &str = "reserve";
/// Bytes. Removing a grant takes some pages of the write-ahead log (4 KiB each), and its index.
const SIZE: libc::off_t = 1 << 20;

/// The reserve of one state directory.
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// The reserve beside a database, made now if there is room.
    pub(super) fn beside(database: &Path) -> Reserve {
        let reserve = Reserve(database.with_file_name(FILE));
        // Without room there is none; it is made when there is.
        let _ = reserve.make();
        reserve
    }

    /// Takes the room, if it was given up.
    pub(super) fn make(&self) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.0)?;
        nix::fcntl::posix_fallocate(&file, 0, SIZE)
            .map_err(io::Error::from)
            .inspect_err(|_| self.give_up())
            .map(|()| drop::<File>(file))
    }

    /// Gives the room up.
    pub(super) fn give_up(&self) {
        // It may have been given up already.
        let _ = std::fs::remove_file(&self.0);
    }
}
