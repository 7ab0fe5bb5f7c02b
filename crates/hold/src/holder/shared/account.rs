//! Every read(2) and write(2) of the holder, accounted for.
//!
//! The kernel counts the bytes that a thread has read and written (`rchar` and `wchar` in
//! `/proc/PID/task/TID/io`: read(2), write(2) and their kin on any descriptor; nothing that
//! recvmsg(2) and sendmsg(2) have passed), and tells the counts of a dead process as long as it is
//! not reaped. (The counts in `/proc/PID/io` are of no use: they grow by those of each child that
//! the process reaps.) So what it has counted and the holder has not is the length of the one operation that was done and
//! not yet noted. The intent says which one that is.
//!
//! A process that reads or writes past this file breaks the account; a test refuses that. What
//! cannot be counted (std reads /proc, a panic prints) is made up for by [`recount`], since nothing
//! is under way then.

use super::kept;
use super::layout::{AccountWords, add};
use super::map::SharedState;
use nix::errno::Errno;
use nix::sys::uio::pread;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// In place of a count: the kernel does not tell.
const UNKNOWN: u64 = u64::MAX;

/// An operation whose length the holder must not lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::holder) enum Intent {
    /// Output of a session is read into its ring, whose head is here.
    Output { slot: u32, head: u64 },
    /// Input of a session is written to its terminal, from here on in its queue.
    Input { slot: u32, start: u64 },
    /// A message is taken from the server's connection, after so many.
    Take { taken: u64 },
}

const OUTPUT: u64 = 1 << 32;
const INPUT: u64 = 2 << 32;
const TAKE: u64 = 3 << 32;

/// An operation under way. `done` ends it.
pub(in crate::holder) struct Operation<'a> {
    words: &'a AccountWords,
    count: &'a AtomicU64,
}

/// Begins an operation.
pub(in crate::holder) fn begin(shared: &SharedState, intent: Intent) -> Operation<'_> {
    let words = &shared.header().account;
    let (kind, at, count) = match intent {
        Intent::Output { slot, head } => (OUTPUT | u64::from(slot), head, &words.read),
        Intent::Input { slot, start } => (INPUT | u64::from(slot), start, &words.written),
        Intent::Take { taken } => (TAKE, taken, &words.read),
    };
    words.at.store(at, Relaxed);
    words.intent.store(kind, Release);
    Operation { words, count }
}

impl Operation<'_> {
    pub(in crate::holder) fn read(&self, fd: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
        nix::unistd::read(fd, buffer)
    }

    pub(in crate::holder) fn write(&self, fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
        nix::unistd::write(fd, bytes)
    }

    /// The caller has noted the operation's effect: so many bytes, or none.
    pub(in crate::holder) fn done(self, bytes: usize) {
        if bytes > 0 {
            add(self.count, bytes as u64);
        }
        self.words.intent.store(0, Release);
    }
}

/// Reads where nothing depends on how much was read: another read would give the same.
pub(in crate::holder) fn read(
    shared: &SharedState,
    fd: impl AsFd,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let count = nix::unistd::read(fd, buffer)?;
    add(&shared.header().account.read, count as u64);
    Ok(count)
}

/// Writes where nothing depends on how much was written: another write does no harm.
pub(in crate::holder) fn write(
    shared: &SharedState,
    fd: impl AsFd,
    bytes: &[u8],
) -> Result<usize, Errno> {
    let count = nix::unistd::write(fd, bytes)?;
    add(&shared.header().account.written, count as u64);
    Ok(count)
}

/// Opens the kernel's counts of this process and begins the account with them. Where the kernel has
/// none, that is noted.
pub(in crate::holder) fn open(shared: &SharedState) {
    use nix::fcntl::{OFlag, open};
    close(shared);
    let word = &shared.header().fds.io;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    match open("/proc/thread-self/io", flags, nix::sys::stat::Mode::empty()) {
        Ok(fd) => drop(kept::Kept::record(word, fd)),
        Err(_) => word.store(0, Release),
    }
    recount(shared);
}

/// Sets the account to the kernel's counts. No operation may be under way.
pub(in crate::holder) fn recount(shared: &SharedState) {
    let words = &shared.header().account;
    words.intent.store(0, Release);
    let counts = kept::borrow(&shared.header().fds.io).and_then(counts);
    let (read, written) =
        counts.map_or((UNKNOWN, UNKNOWN), |counts| (counts.after_this, counts.written));
    words.read.store(read, Release);
    words.written.store(written, Release);
}

/// By how many bytes the account of this process is wrong; `None` if the kernel has no counts.
pub(in crate::holder) fn error(shared: &SharedState) -> Option<u64> {
    let words = &shared.header().account;
    let counts = counts(kept::borrow(&shared.header().fds.io)?)?;
    let read = counts.read.abs_diff(words.read.load(Relaxed));
    let error = read.saturating_add(counts.written.abs_diff(words.written.load(Relaxed)));
    add(&words.read, counts.after_this.saturating_sub(counts.read));
    Some(error)
}

/// An operation that a dead holder had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::holder) struct Unfinished {
    pub(in crate::holder) intent: Intent,
    /// The bytes that it has done and not noted; `None` if the kernel does not tell.
    pub(in crate::holder) bytes: Option<u64>,
}

/// The operation that the dead holder, which is not reaped, had begun and may not have noted.
pub(in crate::holder) fn unfinished(shared: &SharedState) -> Option<Unfinished> {
    let words = &shared.header().account;
    let (kind, at) = (words.intent.load(Relaxed), words.at.load(Relaxed));
    let slot = kind as u32;
    let (intent, noted) = match kind & !u64::from(u32::MAX) {
        OUTPUT => (Intent::Output { slot, head: at }, &words.read),
        INPUT => (Intent::Input { slot, start: at }, &words.written),
        TAKE => (Intent::Take { taken: at }, &words.read),
        _ => return None,
    };
    let noted = noted.load(Relaxed);
    let counts = kept::borrow(&shared.header().fds.io).and_then(counts);
    let counted = counts.filter(|_| noted != UNKNOWN).map(|counts| match intent {
        Intent::Output { .. } | Intent::Take { .. } => counts.read,
        Intent::Input { .. } => counts.written,
    });
    Some(Unfinished { intent, bytes: counted.map(|counted| counted.saturating_sub(noted)) })
}

/// The account of a process that is the holder no more is closed.
pub(in crate::holder) fn close(shared: &SharedState) {
    shared.header().account.intent.store(0, Release);
    let word = &shared.header().fds.io;
    if let Some(io) = kept::Kept::of(word) {
        io.forget(word);
    }
}

/// The kernel's counts of a process.
struct Counts {
    read: u64,
    written: u64,
    /// `read` after these counts were read, if they are those of the calling process.
    after_this: u64,
}

fn counts(io: BorrowedFd<'_>) -> Option<Counts> {
    let mut text = [0; 512];
    let length = pread(io, &mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    let (read, written) = (field("rchar:")?, field("wchar:")?);
    Some(Counts { read, written, after_this: read.saturating_add(length as u64) })
}

/// Reads a whole small file, for example of /proc.
pub(in crate::holder) fn read_file(
    shared: &SharedState,
    path: &str,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file: OwnedFd = open(path, flags, nix::sys::stat::Mode::empty())?;
    let mut length = 0_usize;
    loop {
        match read(shared, &file, buffer.get_mut(length..).unwrap_or_default())? {
            0 => return Ok(length),
            more => length = length.saturating_add(more),
        }
    }
}
