//! A file that takes room on the disk, and gives some of it up when the disk is full, so that what
//! takes rights away can still be written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file beside the database.
const FILE: &str = "reserve";
/// Bytes, where there is room.
const SIZE: u64 = 1 << 20;
/// What is given up at once, and what is kept at least. Removing a grant takes some pages of the
/// write-ahead log (4 KiB each), and its index.
const SLICE: u64 = 64 << 10;

/// The reserve of one state directory.
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// The reserve beside a database, made now if there is room.
    pub(super) fn beside(database: &Path) -> Reserve {
        let reserve = Reserve(database.with_file_name(FILE));
        reserve.make();
        reserve
    }

    /// Takes as much room as there is, up to the whole. Without room there is none; it is tried
    /// again after a later change.
    pub(super) fn make(&self) {
        let Ok(file) = self.open(true) else { return };
        let has = file.metadata().map_or(0, |found| found.len());
        let mut size = SIZE;
        while size > has && size >= SLICE {
            if allocate(&file, size).is_ok() {
                return;
            }
            size /= 2;
        }
        // An attempt that failed may have taken some of it.
        let _ = file.set_len(has);
    }

    /// Gives a part up; false if there is none left.
    pub(super) fn give_up(&self) -> bool {
        let Ok(file) = self.open(false) else { return false };
        let has = file.metadata().map_or(0, |found| found.len());
        has > 0 && file.set_len(has.saturating_sub(SLICE)).is_ok()
    }

    /// Whether it is for want of room that something could not be written, as far as can be seen.
    pub(super) fn is_needed(&self) -> bool {
        let dir = self.0.parent().unwrap_or(Path::new("."));
        nix::sys::statvfs::statvfs(dir)
            .is_ok_and(|room| room.blocks_available() * room.fragment_size() < SLICE)
    }

    fn open(&self, create: bool) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.0)
    }
}

fn allocate(file: &File, size: u64) -> io::Result<()> {
    let size = libc::off_t::try_from(size).unwrap_or(libc::off_t::MAX);
    Ok(nix::fcntl::posix_fallocate(file.as_fd(), 0, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_piece_by_piece_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&dir.path().join("stayd.db"));
        let size = || std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert_eq!(size(), SIZE);
        assert!(reserve.give_up());
        assert_eq!(size(), SIZE - SLICE);
        while reserve.give_up() {}
        assert_eq!(size(), 0);
        reserve.make();
        assert_eq!(size(), SIZE);
        assert!(!reserve.is_needed());
    }

    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(FILE)).unwrap();
        let reserve = Reserve::beside(&dir.path().join("stayd.db"));
        assert!(!elsewhere.exists() && !reserve.give_up());
    }
}
