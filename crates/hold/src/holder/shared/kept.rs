//! Descriptors that outlive the process which opened them, because they are recorded.

#![allow(unsafe_code)]

use super::layout::fd_of;
use super::map::SharedState;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Release;

/// A recorded descriptor. Dropping it leaves it open, for whoever comes after this process.
#[derive(Debug)]
pub(in crate::holder) struct Kept(RawFd);

impl Kept {
    /// Records a descriptor in `word`.
    pub(in crate::holder) fn record(word: &AtomicU64, fd: OwnedFd) -> Kept {
        let kept = Kept::new(fd);
        kept.note(word);
        kept
    }

    /// A descriptor that may be recorded later. Until then it goes with this process.
    pub(in crate::holder) fn unrecorded(fd: OwnedFd) -> Kept {
        Kept::new(fd)
    }

    pub(super) fn new(fd: OwnedFd) -> Kept {
        Kept(fd.into_raw_fd())
    }

    pub(super) fn note(&self, word: &AtomicU64) {
        word.store(self.word(), Release);
    }

    /// The value of the word that records it.
    pub(in crate::holder) fn word(&self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).saturating_add(1)
    }

    /// The descriptor that a word records, for the one process that uses it.
    pub(in crate::holder) fn of(word: &AtomicU64) -> Option<Kept> {
        fd_of(word).map(Kept)
    }

    /// Closes it. Its word is another's by then, or 0.
    pub(in crate::holder) fn close(self) {
        // SAFETY: it was taken from an owned descriptor, here or in a process before this one, and
        // this consumes the one value that stands for it.
        drop(unsafe { OwnedFd::from_raw_fd(self.0) });
    }

    /// Clears the word that records it, and closes it.
    pub(in crate::holder) fn forget(self, word: &AtomicU64) {
        word.store(0, Release);
        self.close();
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open until `close`, which consumes it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl AsRawFd for Kept {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// A recorded descriptor, for a call.
pub(in crate::holder) fn borrow(word: &AtomicU64) -> Option<BorrowedFd<'_>> {
    // SAFETY: it is recorded, so it is open; a holder that closes it clears the word first, and a
    // guardian borrows only while there is no holder, or what a holder never closes.
    fd_of(word).map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Closes every descriptor but stdio and the recorded ones: those of a dead holder that it had not
/// come to record, its epoll instance, and connections that had not said hello.
///
/// # Errors
/// The kernel does not know close_range(2) (before 5.9): they stay open.
pub(in crate::holder) fn sweep(shared: &SharedState) -> Result<(), Errno> {
    let mut kept: Vec<u32> =
        recorded(shared).into_iter().filter_map(|fd| u32::try_from(fd).ok()).collect();
    kept.sort_unstable();
    let mut from = 3_u32;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if let Some(last) = fd.checked_sub(1).filter(|last| *last >= from) {
            // SAFETY: nobody owns a descriptor that is not recorded: the holder that did is dead,
            // or has dropped what it owned.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        from = from.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Says for every recorded descriptor whether execve(2) closes it.
pub(in crate::holder) fn close_on_exec(shared: &SharedState, flag: FdFlag) -> Result<(), Errno> {
    for fd in recorded(shared) {
        // SAFETY: it is recorded, so it is open.
        fcntl(unsafe { BorrowedFd::borrow_raw(fd) }, FcntlArg::F_SETFD(flag))?;
    }
    Ok(())
}

fn recorded(shared: &SharedState) -> Vec<RawFd> {
    let mut all: Vec<RawFd> = shared.header().fds.all().into_iter().filter_map(fd_of).collect();
    for page in (0..shared.slots()).filter_map(|index| shared.page(index)) {
        if page.live.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            continue;
        }
        all.extend(page.fds.all().into_iter().filter_map(fd_of));
        let checkpoint =
            usize::try_from(page.checkpoint.load(std::sync::atomic::Ordering::Relaxed));
        let checkpoint = checkpoint.ok().and_then(|number| number.checked_sub(1));
        if let Some(words) = checkpoint.and_then(|index| page.checkpoints.get(index)) {
            all.extend(fd_of(&words.fd));
        }
    }
    all
}
