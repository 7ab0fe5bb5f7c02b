//! Checkpoints, which a server leaves so that its successor need not read all output again. The
//! holder keeps the last one of each session without interpreting it.

use crate::holder::memfd::SEALS;
use crate::holder::wire::{CHECKPOINT_MAX, CheckpointMeta, Failure};
use crate::ring::Writer;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use std::os::fd::OwnedFd;

/// A checkpoint that a server has sent.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) meta: CheckpointMeta,
    /// The bytes; `None` instead of an empty file.
    pub(super) bytes: Option<Bytes>,
}

/// A sealed file, whose bytes cannot change any more.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) fd: OwnedFd,
    pub(super) length: u64,
}

impl Checkpoint {
    /// A checkpoint of these bytes, after checking them.
    pub(super) fn new(meta: CheckpointMeta, bytes: Option<OwnedFd>) -> Result<Self, Failure> {
        let bytes = match bytes {
            Some(fd) => checked(fd)?,
            None => None,
        };
        Ok(Checkpoint { meta, bytes })
    }

    /// Whether the checkpoint may replace the last one.
    pub(super) fn follows(
        &self,
        last: Option<&CheckpointMeta>,
        ring: &Writer,
    ) -> Result<(), Failure> {
        let CheckpointMeta { offset, resizes, .. } = self.meta;
        if !ring.may_checkpoint(offset) {
            let text = "a checkpoint goes back, beyond the output, or before what is kept of it";
            return Err(Failure::invalid(text));
        }
        let seen = last.map_or(0, |last| last.resizes);
        if !(seen..=ring.resize_count()).contains(&resizes) {
            let text = "a checkpoint has seen fewer resizes than the last, or more than there were";
            return Err(Failure::invalid(text));
        }
        Ok(())
    }
}

/// A memfd that cannot change: an unsealed one could change under its readers, or grow without
/// bound. `None` if it is empty.
fn checked(fd: OwnedFd) -> Result<Option<Bytes>, Failure> {
    let found = fcntl(&fd, FcntlArg::F_GET_SEALS)
        .map_err(|_| Failure::invalid("a checkpoint has to be in a memfd"))?;
    if !SealFlag::from_bits_retain(found).contains(SEALS) {
        return Err(Failure::invalid("a checkpoint has to be sealed"));
    }
    let size = fstat(&fd).map_err(|_| Failure::invalid("a checkpoint without a size"))?.st_size;
    match u64::try_from(size) {
        Ok(0) => Ok(None),
        Ok(length) if length <= CHECKPOINT_MAX => Ok(Some(Bytes { fd, length })),
        _ => Err(Failure::invalid("checkpoint too long")),
    }
}
