//! The layout of a ring. Both sides are on one machine, so words have its byte order.

use nix::unistd::{SysconfVar, sysconf};
use std::mem::offset_of;
use std::sync::atomic::AtomicU64;

/// The default capacity of a session's ring, in bytes.
pub const CAPACITY_DEFAULT: u64 = 2 << 20;
/// The least capacity, of which enough must be left after [`IN_FLIGHT`].
pub const CAPACITY_MIN: u64 = 128 << 10;
/// The largest capacity. It keeps arithmetic and address space within bounds.
pub const CAPACITY_MAX: u64 = 1 << 30;
/// The bytes beyond the published head that the holder may be writing.
pub const IN_FLIGHT: u64 = 64 << 10;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"staydrng");
/// The version of this layout, to be increased when the words change. Other versions are not read.
pub(super) const VERSION: u64 = 1;
/// In place of an offset: nobody waits.
pub(super) const NOBODY: u64 = u64::MAX;
/// In place of an offset: no checkpoint holds the tail.
pub(super) const UNHELD: u64 = u64::MAX;
/// The resizes that are kept: dragging a window's edge makes some dozens between two checkpoints.
pub(super) const RESIZES: usize = 112;
/// The clients whose input is counted.
pub(super) const LEDGER: usize = 64;

/// The holder's page; the server maps it read-only.
#[repr(C)]
pub(super) struct HolderPage {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    pub(super) capacity: AtomicU64,
    /// The number of bytes ever written; stored with release after the bytes.
    pub(super) head: AtomicU64,
    /// 1 while the holder does not read the PTY because the ring is full.
    pub(super) blocked: AtomicU64,
    /// 0, or the encoded exit of the leader; stored after the final head.
    pub(super) ended: AtomicU64,
    /// Bytes free in the input queue.
    pub(super) input_free: AtomicU64,
    /// The number of resizes ever stamped. Number `n` is in the slot `n % RESIZES`, see `resize`.
    pub(super) resize_count: AtomicU64,
    resizes: [ResizeWords; RESIZES],
    /// Odd while an entry of the ledger is being given to another client.
    pub(super) ledger_version: AtomicU64,
    pub(super) ledger: [LedgerWords; LEDGER],
    /// The last checkpoint's offset, which the tail does not pass, or [`UNHELD`].
    pub(super) checkpoint: AtomicU64,
    /// The offset of the first byte that was ever written to this ring: an earlier program of the
    /// session has printed the output before it.
    pub(super) base: AtomicU64,
    /// The offset before which the output was discarded, on a page's boundary, or 0. Stored before
    /// the pages are given back. A holder that knows nothing of it leaves 0 here.
    pub(super) discarded: AtomicU64,
}

impl HolderPage {
    /// The slot of a resize.
    pub(super) fn resize(&self, number: u64) -> Option<&ResizeWords> {
        self.resizes.get(usize::try_from(number.checked_rem(RESIZES as u64)?).ok()?)
    }
}

#[repr(C)]
pub(super) struct ResizeWords {
    pub(super) offset: AtomicU64,
    /// `cols << 16 | rows`.
    pub(super) size: AtomicU64,
}

#[repr(C)]
pub(super) struct LedgerWords {
    /// The key's bytes as two words; both are 0 in a free entry.
    pub(super) key: [AtomicU64; 2],
    pub(super) accepted: AtomicU64,
    pub(super) seen: AtomicU64,
}

/// The server's page. The holder checks every value in it.
#[repr(C)]
pub(super) struct ServerPage {
    /// Everything before this offset may be overwritten.
    pub(super) tail: AtomicU64,
    /// The holder writes to the eventfd once head has reached this.
    pub(super) wake_at: AtomicU64,
    /// The holder sends a notice once head has reached this.
    pub(super) watch_at: AtomicU64,
}

/// The words of a page: each field of both is one, or an array of them.
pub(super) const WORDS: usize = 4096 / size_of::<AtomicU64>();
/// The index of a field's word in [`HolderPage`].
pub(super) const LEDGER_VERSION: usize = offset_of!(HolderPage, ledger_version) / size_of::<u64>();
pub(super) const INPUT_FREE: usize = offset_of!(HolderPage, input_free) / size_of::<u64>();

/// The index of the first word of an entry of the ledger, in the order of [`LedgerWords`].
pub(super) fn ledger_word(slot: usize) -> usize {
    const FIRST: usize = offset_of!(HolderPage, ledger) / size_of::<u64>();
    const EACH: usize = size_of::<LedgerWords>() / size_of::<u64>();
    FIRST.saturating_add(slot.saturating_mul(EACH))
}

// Both have to fit into the smallest page size.
const _: () = assert!(size_of::<HolderPage>() <= 4096 && size_of::<ServerPage>() <= 4096);

/// The kernel's page size in bytes: mappings start on it.
pub(super) fn page_size() -> usize {
    match sysconf(SysconfVar::PAGE_SIZE) {
        Ok(Some(size)) => usize::try_from(size).unwrap_or(4096),
        _ => 4096,
    }
}

/// The length of a ring of this capacity; `None` if no ring may have it.
pub(super) fn check_capacity(capacity: u64) -> Option<usize> {
    let fits = capacity.is_power_of_two() && (CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity);
    if fits { usize::try_from(capacity).ok() } else { None }
}

pub(super) fn key_words(key: [u8; 16]) -> [u64; 2] {
    let both = u128::from_ne_bytes(key);
    [both as u64, (both >> 64) as u64]
}
