//! Checkpoints: what a server leaves so that its successor need not read all output again.
//! The holder keeps the last one of each session and does not look into it.

use super::requests::{Answer, failure, no_session};
use super::run::Process;
use super::session::Session;
use crate::holder::memfd::SEALS;
use crate::holder::wire::{self, CHECKPOINT_MAX, CheckpointMeta, Failure, FailureCode};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use std::os::fd::OwnedFd;

/// A session's last checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) meta: CheckpointMeta,
    /// Never empty.
    pub(super) bytes: Option<Bytes>,
}

/// What nobody can change any more.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) fd: OwnedFd,
    pub(super) length: u64,
}

impl Process {
    /// Keeps a checkpoint in place of the last one; one that is refused changes nothing.
    pub(super) fn checkpoint(&mut self, wanted: &wire::Checkpoint) -> Result<Answer, Failure> {
        let bytes = match self.inbox.fds.drain(..).next() {
            Some(fd) => checked(fd)?,
            None => None,
        };
        let place = self.sessions.place(wanted.id).ok_or_else(no_session)?;
        let session = self.sessions.get(place).ok_or_else(no_session)?;
        session.keep(Checkpoint { meta: wanted.checkpoint, bytes })?;
        self.resume_reading(place);
        Ok(Answer::Done)
    }
}

impl Session {
    fn keep(&mut self, checkpoint: Checkpoint) -> Result<(), Failure> {
        let CheckpointMeta { offset, resizes, .. } = checkpoint.meta;
        if !self.ring.may_checkpoint(offset) {
            let text = "a checkpoint goes back, beyond the output, or before what is kept of it";
            return Err(failure(FailureCode::Invalid, text));
        }
        let seen = self.checkpoint.as_ref().map_or(0, |last| last.meta.resizes);
        if !(seen..=self.ring.resize_count()).contains(&resizes) {
            let text = "a checkpoint has seen fewer resizes than the last, or more than there were";
            return Err(failure(FailureCode::Invalid, text));
        }
        // In this order: what the ring lets go of is in the checkpoint by then.
        self.checkpoint = Some(checkpoint);
        self.ring.hold_tail(offset);
        Ok(())
    }
}

/// A memfd that will stay as it is: an unsealed one could change under those who read it, or
/// grow without bound. None: there is nothing in it.
fn checked(fd: OwnedFd) -> Result<Option<Bytes>, Failure> {
    let invalid = |text| failure(FailureCode::Invalid, text);
    let found = fcntl(&fd, FcntlArg::F_GET_SEALS)
        .map_err(|_| invalid("a checkpoint has to be in a memfd"))?;
    if !SealFlag::from_bits_retain(found).contains(SEALS) {
        return Err(invalid("a checkpoint has to be sealed"));
    }
    let size = fstat(&fd).map_err(|_| invalid("a checkpoint without a size"))?.st_size;
    match u64::try_from(size) {
        Ok(0) => Ok(None),
        Ok(length) if length <= CHECKPOINT_MAX => Ok(Some(Bytes { fd, length })),
        _ => Err(invalid("checkpoint too long")),
    }
}
