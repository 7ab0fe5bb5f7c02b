//! The memfds that a server gives to the holder.

use super::checkpoint::Checkpoint;
use crate::fuzz::target;
use crate::holder::memfd::SEALS;
use crate::holder::wire::{CHECKPOINT_MAX, CheckpointMeta};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::os::fd::OwnedFd;

// A byte that says which seals there are, and eight for the length.
target!(checkpoints_kept, |bytes: &[u8]| {
    let Some((&[seals, l0, l1, l2, l3, l4, l5, l6, l7], content)) = bytes.split_first_chunk()
    else {
        return;
    };
    let length = i64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]) % (16 << 20);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd: OwnedFd = memfd_create(c"fuzz", flags).expect("a memfd");
    let _ = nix::unistd::write(&fd, content);
    let size = if ftruncate(&fd, length).is_ok() { length as u64 } else { content.len() as u64 };
    let seals = SealFlag::from_bits_retain(i32::from(seals) & 0xf);
    let _ = fcntl(&fd, FcntlArg::F_ADD_SEALS(seals));
    if let Ok(kept) = Checkpoint::new(CheckpointMeta::default(), Some(fd)) {
        assert!(seals.contains(SEALS), "{seals:?}");
        assert_eq!(kept.bytes.map_or(0, |bytes| bytes.length), size);
        assert!(size <= CHECKPOINT_MAX);
    }
});
