//! Checkpoints as the server reads them.

use super::error::HolderError;
use crate::holder::wire::{self, CHECKPOINT_MAX, CheckpointMeta};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A session's last checkpoint, as the holder keeps it.
#[derive(Debug)]
pub struct Checkpoint {
    /// The state that the checkpoint represents.
    pub meta: CheckpointMeta,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// The holder's memory, of which this many bytes at the beginning are the checkpoint.
    Holders(File, usize),
    Ours(Vec<u8>),
}

impl Checkpoint {
    /// The checkpoint of an entry. `None` if the entry has none, or its descriptor was lost on the
    /// way.
    pub(super) fn of(
        entry: &wire::Entry,
        fd: Option<OwnedFd>,
    ) -> Result<Option<Self>, HolderError> {
        let Some(meta) = entry.checkpoint else { return Ok(None) };
        let length = entry.checkpoint_bytes;
        if length > 0 && fd.is_none() {
            return Err(HolderError::Answer("a checkpoint's descriptor is missing".to_owned()));
        }
        if length > CHECKPOINT_MAX {
            return Err(HolderError::Answer("checkpoint too long".to_owned()));
        }
        let length = usize::try_from(length).unwrap_or(0);
        let bytes = fd.map_or(Bytes::Ours(Vec::new()), |fd| Bytes::Holders(fd.into(), length));
        Ok(Some(Checkpoint { meta, bytes }))
    }

    /// A checkpoint that this process is about to send to the holder.
    #[must_use]
    pub fn ours(meta: CheckpointMeta, bytes: Vec<u8>) -> Self {
        Checkpoint { meta, bytes: Bytes::Ours(bytes) }
    }

    /// The checkpoint's bytes; none if it was sent without any. May be called again.
    ///
    /// # Errors
    /// The system cannot read it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match &self.bytes {
            Bytes::Holders(file, length) => {
                let mut bytes = vec![0; *length];
                // Read at an offset, because every owner of the descriptor shares its position.
                file.read_exact_at(&mut bytes, 0)?;
                Ok(bytes)
            }
            Bytes::Ours(bytes) => Ok(bytes.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::memfd;
    use crate::id::SessionId;

    fn entry(checkpoint: Option<CheckpointMeta>, checkpoint_bytes: u64) -> wire::Entry {
        wire::Entry {
            id: SessionId::generate(),
            pid: 1,
            start_time: 0,
            exit: None,
            cols: 80,
            rows: 24,
            checkpoint,
            checkpoint_bytes,
        }
    }

    #[test]
    fn a_lost_descriptor_is_not_taken_for_an_empty_checkpoint() {
        let meta = CheckpointMeta { offset: 7, ..CheckpointMeta::default() };
        assert!(Checkpoint::of(&entry(None, 0), None).unwrap().is_none());
        let empty = Checkpoint::of(&entry(Some(meta), 0), None).unwrap().unwrap();
        assert_eq!((empty.meta, empty.read().unwrap()), (meta, Vec::new()));
        assert!(Checkpoint::of(&entry(Some(meta), 3), None).is_err());
        let fd = || Some(memfd::sealed(c"x", b"abc").unwrap());
        let full = Checkpoint::of(&entry(Some(meta), 3), fd()).unwrap().unwrap();
        assert_eq!((full.read().unwrap(), full.read().unwrap()), (b"abc".into(), b"abc".into()));
        // A file that is shorter than its entry says is an error, and not filled with zeros.
        let short = Checkpoint::of(&entry(Some(meta), 4), fd()).unwrap().unwrap();
        assert!(short.read().is_err());
        assert!(Checkpoint::of(&entry(Some(meta), CHECKPOINT_MAX + 1), fd()).is_err());
    }
}
