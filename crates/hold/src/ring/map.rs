//! The mapping that both sides share: header pages, then the data twice.

use super::error::RingError;
use super::layout::{HolderPage, MAGIC, ServerPage, VERSION, WORDS, check_capacity, page_size};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The pages of one ring in this process. They are unmapped on drop.
#[derive(Debug)]
pub(super) struct Map {
    base: NonNull<c_void>,
    length: usize,
    page: usize,
    capacity: usize,
}

// SAFETY: the mapping belongs to this value until its drop, whatever thread that happens
// on; the header is reached through atomics only, and the data through `data_ptr`, whose
// users argue for themselves.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

/// The half of a ring that a process writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Holder,
    Server,
}

/// Creates a new ring's memory, whose size is fixed.
pub(super) fn create(capacity: u64) -> Result<(OwnedFd, Map), RingError> {
    let capacity = check_capacity(capacity).ok_or(RingError::Capacity(capacity))?;
    let page = page_size();
    let fd = memfd_create(c"stayd-ring", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let size = capacity.saturating_add(page.saturating_mul(2));
    ftruncate(&fd, i64::try_from(size).unwrap_or(i64::MAX))?;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals()))?;
    let map = Map::new(fd.as_fd(), page, capacity, Side::Holder)?;
    let words = map.holder();
    words.capacity.store(capacity as u64, Ordering::Relaxed);
    words.version.store(VERSION, Ordering::Relaxed);
    words.magic.store(MAGIC, Ordering::Release);
    Ok((fd, map))
}

/// Maps a ring that a holder has made, after checking it, for one of the sides.
pub(super) fn open(fd: BorrowedFd<'_>, side: Side) -> Result<Map, RingError> {
    let sealed = fcntl(fd, FcntlArg::F_GET_SEALS)?;
    if !SealFlag::from_bits_retain(sealed).contains(seals()) {
        // An unsealed file can shrink, and then a read is a SIGBUS.
        return Err(RingError::Foreign("not sealed"));
    }
    let page = page_size();
    let size = usize::try_from(fstat(fd)?.st_size).unwrap_or(0);
    let capacity = size.saturating_sub(page.saturating_mul(2));
    let capacity = check_capacity(capacity as u64).ok_or(RingError::Foreign("wrong size"))?;
    let map = Map::new(fd, page, capacity, side)?;
    let words = map.holder();
    if words.magic.load(Ordering::Acquire) != MAGIC {
        return Err(RingError::Foreign("wrong magic"));
    }
    if words.version.load(Ordering::Relaxed) != VERSION {
        return Err(RingError::Foreign("unknown layout version"));
    }
    if words.capacity.load(Ordering::Relaxed) != capacity as u64 {
        return Err(RingError::Foreign("wrong capacity"));
    }
    Ok(map)
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

impl Map {
    fn new(
        fd: BorrowedFd<'_>,
        page: usize,
        capacity: usize,
        side: Side,
    ) -> Result<Self, RingError> {
        let header = page.saturating_mul(2);
        let length = header.saturating_add(capacity.saturating_mul(2));
        let whole = NonZeroUsize::new(length).ok_or(RingError::Foreign("empty"))?;
        // SAFETY: a fresh reservation at an address of the kernel's choice touches nothing
        // that exists.
        let base =
            unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)? };
        // From here on dropping `map` frees the reservation, even if it is only half filled.
        let map = Map { base, length, page, capacity };
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let (ours, theirs, data) = match side {
            Side::Holder => (both, both, both),
            Side::Server => (ProtFlags::PROT_READ, both, ProtFlags::PROT_READ),
        };
        map.fix(fd, 0, 0, page, ours)?;
        map.fix(fd, page, page, page, theirs)?;
        map.fix(fd, header, header, capacity, data)?;
        map.fix(fd, header.saturating_add(capacity), header, capacity, data)?;
        Ok(map)
    }

    /// Maps `length` bytes of `fd` from `offset` at `at` bytes into the reservation.
    fn fix(
        &self,
        fd: BorrowedFd<'_>,
        at: usize,
        offset: usize,
        length: usize,
        protection: ProtFlags,
    ) -> Result<(), RingError> {
        let address = NonZeroUsize::new((self.base.as_ptr() as usize).saturating_add(at));
        let length = NonZeroUsize::new(length).ok_or(RingError::Foreign("empty"))?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        // SAFETY: MAP_FIXED replaces only pages of our own reservation: `at + length` is
        // within `self.length` at each of the four calls in `new`.
        unsafe { mmap(address, length, protection, flags, fd, offset)? };
        Ok(())
    }

    pub(super) fn holder(&self) -> &HolderPage {
        // SAFETY: page 0 is mapped, page-aligned, at least as large as the struct (asserted
        // in layout.rs), and holds only atomics, for which every bit pattern is valid.
        unsafe { self.base.cast::<HolderPage>().as_ref() }
    }

    /// The holder's page as words.
    pub(super) fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: as for `holder`; every part of the page is such a word.
        unsafe { self.base.cast::<[AtomicU64; WORDS]>().as_ref() }
    }

    pub(super) fn server(&self) -> &ServerPage {
        // SAFETY: as for `holder`, one page further on, within the mapping.
        unsafe { self.base.byte_add(self.page).cast::<ServerPage>().as_ref() }
    }

    /// The size of a page in bytes.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity as u64
    }

    /// The address of the byte at `offset`. At least `capacity` bytes are mapped from there.
    pub(super) fn data_ptr(&self, offset: u64) -> *mut u8 {
        // The capacity is a power of two, so the mask is the remainder.
        let within = offset as usize & self.capacity.wrapping_sub(1);
        let at = self.page.saturating_mul(2).saturating_add(within);
        // SAFETY: `within < capacity`, so `at` is inside the mapping.
        unsafe { self.base.byte_add(at).cast::<u8>().as_ptr() }
    }

    /// The start of the page in which the byte at `offset` lies.
    pub(super) fn page_of(&self, offset: u64) -> u64 {
        // The page's size is a power of two.
        offset & !(self.page as u64).wrapping_sub(1)
    }

    /// Frees the data's pages from one offset to another, both on pages' boundaries and at most
    /// `capacity` apart. They read as zeros afterwards, in all processes.
    pub(super) fn punch(&self, fd: BorrowedFd<'_>, from: u64, to: u64) -> nix::Result<()> {
        let within = from & self.capacity().wrapping_sub(1);
        let length = to.saturating_sub(from).min(self.capacity());
        // The rest of the data behind `from`; what goes beyond it continues at the beginning.
        let first = length.min(self.capacity().saturating_sub(within));
        for (at, length) in [(within, first), (0, length.saturating_sub(first))] {
            if length > 0 {
                let at = at.saturating_add(self.page.saturating_mul(2) as u64);
                let flags =
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
                fallocate(fd, flags, number(at), number(length))?;
            }
        }
        Ok(())
    }

    /// Takes the data's pages out of this mapping. They stay in the file, and are mapped again when
    /// they are touched.
    pub(super) fn let_go(&self) {
        let data = self.page.saturating_mul(2);
        // SAFETY: the range is the data's, which is a shared mapping of a file that keeps its
        // content; who reads it meanwhile finds the same bytes.
        let _ = unsafe {
            madvise(
                self.base.byte_add(data),
                self.length.saturating_sub(data),
                MmapAdvise::MADV_DONTNEED,
            )
        };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the reservation is ours and nothing borrowed from it outlives `self`.
        // There is nothing to be done about a failure.
        let _ = unsafe { munmap(self.base, self.length) };
    }
}
