//! Copies of the database while it is in use.

use super::error::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The prefix of the files, beside the database, in which copies are made.
const PREFIX: &str = "backup-";
const SUFFIX: &str = ".tmp";

/// A whole and consistent copy of the present database, as a file without a name, which disappears
/// once it is closed. The copy is made over a connection of its own while others write. Blocks.
///
/// # Errors
/// There is no room for it, or the database cannot be read.
pub(super) fn copy(database: &Path) -> Result<File, StoreError> {
    let unavailable = |error: io::Error| StoreError::Unavailable(error.to_string());
    let name = format!("{PREFIX}{}{SUFFIX}", Uuid::now_v7());
    let beside = Beside(database.with_file_name(name));
    // SQLite writes into an empty file and keeps its permissions.
    let mut open = OpenOptions::new();
    let file = open.read(true).write(true).create_new(true).mode(0o600).open(&beside.0);
    let file = file.map_err(unavailable)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database, flags)?;
    let into = beside.0.to_str().ok_or_else(|| {
        unavailable(io::Error::other("the state directory's path is no UTF-8 text"))
    })?;
    // One read transaction: the copy is of one moment, and no writer waits for it.
    conn.execute("VACUUM INTO ?1", [into])?;
    Ok(file)
}

/// Removes a file when dropped.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes copies that a server left when it died while it made them.
pub fn remove_leftovers(state_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(state_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.contains(SUFFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
