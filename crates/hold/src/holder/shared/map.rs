//! The memory: a memfd with a header page and the slots of the sessions, which guardian and holder
//! both map.
//!
//! ```text
//!  header  slot 0                                           slot 1
//! ┌───────┬──────┬──────────────┬─────────────────────────┬──────
//! │ words │ page │ blobs, 2 × 4 │ input queue, 64 KiB     │ …
//! └───────┴──────┴──────────────┴─────────────────────────┴──────
//! ```
//!
//! Pages exist once they are touched. Addresses are reserved for all slots, and the file grows.

#![allow(unsafe_code)]

use super::layout::{Header, MAGIC, PAGE, SLOTS_MAX, SlotPage, VERSION};
use crate::holder::ledger::QUEUE;
use crate::holder::wire::BLOB_MAX;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Bytes of a slot.
const SLOT: usize = PAGE + 2 * BLOB_MAX + QUEUE;
/// Slots by which the file grows.
const GROWTH: u32 = 16;
const LENGTH: usize = PAGE + SLOTS_MAX as usize * SLOT;

/// The shared state of guardian and holder, mapped into this process. The calls that change it are
/// for the one process that is the holder; a guardian changes it while there is none.
#[derive(Debug)]
pub(in crate::holder) struct SharedState {
    base: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to this value until its drop, whatever thread that happens on; words
// are reached through atomics only, and the bytes of a slot only by the one thread of a holder.
unsafe impl Send for SharedState {}
// SAFETY: as above.
unsafe impl Sync for SharedState {}

impl SharedState {
    /// Memory without sessions, and its descriptor.
    pub(in crate::holder) fn create() -> Result<(OwnedFd, Self), Errno> {
        let fd = memfd_create(c"stayd-state", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&fd, PAGE as i64)?;
        let shared = SharedState::map(&fd)?;
        let header = shared.header();
        header.version.store(VERSION, Relaxed);
        header.magic.store(MAGIC, Release);
        Ok((fd, shared))
    }

    /// The memory of earlier processes. `EPROTO` if its layout is not the one that this program
    /// knows.
    pub(in crate::holder) fn open(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let size = usize::try_from(fstat(fd)?.st_size).unwrap_or(0);
        if size < PAGE {
            return Err(Errno::EPROTO);
        }
        let shared = SharedState::map(fd)?;
        let header = shared.header();
        let known = (header.magic.load(Acquire), header.version.load(Relaxed)) == (MAGIC, VERSION);
        let end = shared.at(header.slots.load(Relaxed) as usize);
        if known && end <= size { Ok(shared) } else { Err(Errno::EPROTO) }
    }

    fn map(fd: impl std::os::fd::AsFd) -> Result<Self, Errno> {
        let length = NonZeroUsize::new(LENGTH).ok_or(Errno::EINVAL)?;
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        // Memory beyond the file's end is not touched before the file has grown.
        let base = unsafe { mmap(None, length, both, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(SharedState { base, length: LENGTH })
    }

    pub(in crate::holder) fn header(&self) -> &Header {
        // SAFETY: the file is never shorter than a page, the struct fits into one (asserted in
        // layout.rs), and holds only atomics, for which every bit pattern is valid.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// The number of slots, live or free.
    pub(in crate::holder) fn slots(&self) -> u32 {
        u32::try_from(self.header().slots.load(Relaxed)).unwrap_or(0).min(SLOTS_MAX)
    }

    /// Makes room for a slot of this index.
    pub(in crate::holder) fn grow_to(&self, index: u32) -> Result<(), Errno> {
        if index < self.slots() {
            return Ok(());
        }
        let slots = index.saturating_add(GROWTH).min(SLOTS_MAX);
        if index >= slots {
            return Err(Errno::ENOSPC);
        }
        let memory = super::layout::fd_of(&self.header().fds.memory).ok_or(Errno::EBADF)?;
        // SAFETY: the recorded descriptor is open for as long as this memory is in use.
        let memory = unsafe { BorrowedFd::borrow_raw(memory) };
        ftruncate(memory, i64::try_from(self.at(slots as usize)).map_err(|_| Errno::EFBIG)?)?;
        self.header().slots.store(u64::from(slots), Release);
        Ok(())
    }

    /// Where a slot begins.
    fn at(&self, index: usize) -> usize {
        PAGE.saturating_add(index.min(SLOTS_MAX as usize).saturating_mul(SLOT))
    }

    /// The words of a slot; `None` if there is no such slot.
    pub(super) fn page(&self, index: u32) -> Option<&SlotPage> {
        if index >= self.slots() {
            return None;
        }
        // SAFETY: the file has grown beyond this slot and never shrinks; otherwise as `header`. The
        // bytes of the small blobs are reached by `bytes` alone, in the same thread.
        Some(unsafe { self.base.byte_add(self.at(index as usize)).cast::<SlotPage>().as_ref() })
    }

    /// The index among all words of one that `header` or `page` has returned.
    pub(super) fn place(&self, word: &AtomicU64) -> usize {
        let at = std::ptr::from_ref(word) as usize;
        const WORD: usize = size_of::<AtomicU64>();
        at.wrapping_sub(self.base.as_ptr() as usize).checked_div(WORD).unwrap_or(0)
    }

    /// The word of this index.
    pub(super) fn word(&self, place: usize) -> Option<&AtomicU64> {
        let at = place.checked_mul(size_of::<AtomicU64>())?;
        if at >= self.at(self.slots() as usize) {
            return None;
        }
        // SAFETY: within the file, aligned, and nothing in it is invalid as a word.
        Some(unsafe { self.base.byte_add(at).cast::<AtomicU64>().as_ref() })
    }

    /// The memory of a slot from `offset` on, `length` bytes of it.
    pub(super) fn bytes(&self, index: u32, offset: usize, length: usize) -> Option<*mut u8> {
        if index >= self.slots() || offset.saturating_add(length) > SLOT {
            return None;
        }
        let at = self.at(index as usize).saturating_add(offset);
        // SAFETY: within the slot, which is within the mapping.
        Some(unsafe { self.base.byte_add(at).cast::<u8>().as_ptr() })
    }

    /// Gives the memory of a slot from `offset` on back. It reads as zeros then.
    pub(super) fn punch(&self, index: u32, offset: usize, length: usize) {
        if let Some(bytes) = self.bytes(index, offset, length).and_then(NonNull::new) {
            // SAFETY: the range is this slot's, and nobody has borrowed from it. If it fails, the
            // memory stays, and what was in it means nothing.
            let _ = unsafe { madvise(bytes.cast(), length, MmapAdvise::MADV_REMOVE) };
        }
    }
}

/// Where the places of large blobs begin in a slot.
pub(super) const BLOBS_AT: usize = PAGE;
/// Where the queue begins in a slot.
pub(super) const QUEUE_AT: usize = PAGE + 2 * BLOB_MAX;
/// The bytes of a slot.
pub(super) const SLOT_BYTES: usize = SLOT;

impl Drop for SharedState {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrowed from it outlives `self`.
        let _ = unsafe { munmap(self.base, self.length) };
    }
}
