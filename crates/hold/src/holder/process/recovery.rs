//! Completes what a dead holder has left unfinished. It is not reaped yet, so that the kernel still
//! tells how much it had read and written.

use crate::holder::shared::account::{self, Intent, Unfinished};
use crate::holder::shared::{Queue, SharedState, Slot, journal, kept};
use crate::ring::{RingError, Writer};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Makes the shared state whole, and closes what nobody knows of any more.
pub(super) fn recover(shared: &Arc<SharedState>) {
    let stats = &shared.header().stats;
    let failed = journal::redo(shared).is_err();
    let outcome = match account::unfinished(shared) {
        Some(unfinished) => complete(shared, &unfinished),
        None => Ok(Completion::Nothing),
    };
    match outcome {
        Ok(Completion::Nothing) => {}
        Ok(Completion::Done) => drop(stats.completed.fetch_add(1, Relaxed)),
        Ok(Completion::Unknown) | Err(_) => drop(stats.gaps.fetch_add(1, Relaxed)),
    }
    if failed {
        stats.gaps.fetch_add(1, Relaxed);
    }
    sweep(shared);
}

/// Closes the account of a holder that is none any more, and what nobody knows of.
pub(super) fn sweep(shared: &SharedState) {
    account::close(shared);
    // An old kernel leaves some descriptors open.
    let _ = kept::sweep(shared);
}

/// Stands in the output where some of it may be missing. It begins with what ends a sequence that
/// the program may have been in the middle of.
const GAP: &[u8] = b"\x18\x1b\\\r\n[stayd: the process that held this session was killed, and the \
    kernel does not tell how much it had read: output may be missing here]\r\n";

/// What has become of an operation.
enum Completion {
    /// It was not done, or noted already.
    Nothing,
    /// It is noted now.
    Done,
    /// Nobody knows whether it was done.
    Unknown,
}

fn complete(shared: &Arc<SharedState>, unfinished: &Unfinished) -> Result<Completion, RingError> {
    let bytes = unfinished.bytes;
    if bytes == Some(0) {
        return Ok(Completion::Nothing);
    }
    match unfinished.intent {
        Intent::Output { slot, head } => {
            let ring = Slot::new(shared, slot).ring();
            let ring = ring.ok_or(RingError::Foreign("no descriptor"))?;
            let mut ring = Writer::reopen(ring.as_fd())?;
            match bytes {
                Some(bytes) => ring.complete(head.saturating_add(bytes)),
                None => ring.preface(GAP),
            }
        }
        Intent::Input { slot, start } => {
            let mut queue = Queue::of(&Slot::new(shared, slot));
            // Most probably all of it was written. What is lost can be typed again; what a program
            // gets twice cannot be taken back.
            let bytes = bytes.unwrap_or(queue.front().len() as u64);
            queue.written_to(start.saturating_add(bytes));
        }
        // If it was not taken after all, it is performed again under another number.
        Intent::Take { taken } => {
            let words = &shared.header().server;
            words.tries.store(0, Release);
            words.taken.store(taken.saturating_add(1), Release);
        }
    }
    Ok(if bytes.is_some() { Completion::Done } else { Completion::Unknown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::shared::{Created, Kept};
    use crate::id::SessionId;
    use crate::ring::{CAPACITY_MIN, Reader};
    use bytes::BytesMut;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::unistd::Pid;
    use std::os::fd::OwnedFd;

    /// A session in whose ring some bytes lie behind the head.
    fn session(shared: &Arc<SharedState>) -> (Slot, Reader) {
        let none = || -> OwnedFd { memfd_create(c"nothing", MFdFlags::MFD_CLOEXEC).unwrap() };
        let (ring, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
        writer.buffer(4).copy_from_slice(b"seen");
        writer.publish(4);
        writer.buffer(6).copy_from_slice(b"unseen");
        let reader = Reader::open(&ring).unwrap();
        let slot = Slot::take(shared, 0).unwrap();
        let created = Created {
            id: SessionId::generate(),
            leader: Pid::from_raw(1),
            start_time: 0,
            master: none(),
            slave: none(),
            ring,
            wake: none(),
            report: none(),
            process: none(),
        };
        slot.create(created, b"", 1);
        (slot, reader)
    }

    fn shared() -> Arc<SharedState> {
        let (memory, shared) = SharedState::create().unwrap();
        Kept::record(&shared.header().fds.memory, memory);
        Arc::new(shared)
    }

    fn output(reader: &Reader) -> Vec<u8> {
        let mut output = BytesMut::new();
        reader.read(0, usize::MAX, &mut output).unwrap();
        output.to_vec()
    }

    #[test]
    fn what_was_read_and_not_published_is_published() {
        let shared = shared();
        let (_slot, reader) = session(&shared);
        let intent = Intent::Output { slot: 0, head: 4 };
        for (bytes, seen) in [(0, "seen"), (6, "seenunseen"), (6, "seenunseen")] {
            complete(&shared, &Unfinished { intent, bytes: Some(bytes) }).unwrap();
            assert_eq!(output(&reader), seen.as_bytes());
        }
    }

    #[test]
    fn what_nobody_knows_is_told() {
        let shared = shared();
        let (slot, reader) = session(&shared);
        let intent = Intent::Output { slot: 0, head: 4 };
        let unknown = complete(&shared, &Unfinished { intent, bytes: None });
        assert!(matches!(unknown, Ok(Completion::Unknown)));
        assert_eq!(output(&reader), [b"seen", GAP].concat());
        let mut queue = Queue::of(&slot);
        let typed = queue.stage(b"typed") as u64;
        queue.end_word().unwrap().store(typed, Relaxed);
        let intent = Intent::Input { slot: 0, start: 0 };
        complete(&shared, &Unfinished { intent, bytes: None }).unwrap();
        assert!(queue.is_empty());
        let taken = || shared.header().server.taken.load(Relaxed);
        for bytes in [Some(0), Some(1), None] {
            let before = taken();
            let intent = Intent::Take { taken: before };
            complete(&shared, &Unfinished { intent, bytes }).unwrap();
            assert_eq!(taken(), before + u64::from(bytes != Some(0)));
        }
    }
}
