//! The files in the state directory by which the processes are found.

use crate::holder::paths::{GUARDIAN_FILE, PID_FILE, SOCKET};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, getpid, unlinkat};
use std::os::fd::BorrowedFd;

/// Writes this process's pid to a temporary file and renames it, so that nobody reads half a number.
pub(super) fn write(directory: BorrowedFd<'_>, file: &str) -> Result<(), Errno> {
    let aside = format!("{file}.new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let new = openat(directory, aside.as_str(), flags, mode)?;
    // A number of some bytes is written at once, or not at all.
    nix::unistd::write(&new, format!("{}\n", getpid()).as_bytes())?;
    renameat(directory, aside.as_str(), directory, file)
}

/// The pid that a file names.
pub(super) fn read(directory: BorrowedFd<'_>, file: &str) -> Option<i32> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = openat(directory, file, flags, Mode::empty()).ok()?;
    let mut text = [0; 16];
    let length = nix::unistd::read(&file, &mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

/// Removes the files, while the directory is still locked.
pub(super) fn clean_up(directory: BorrowedFd<'_>) {
    for file in [SOCKET, PID_FILE, GUARDIAN_FILE] {
        // A state directory that was removed needs no cleaning.
        let _ = unlinkat(directory, file, UnlinkatFlags::NoRemoveDir);
    }
}
