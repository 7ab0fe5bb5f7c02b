//! The words of the shared state. All processes that use it are on one machine, so words have its
//! byte order.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"staydmem");
/// The version of this layout, to be increased when the words change. A program that does not know
/// a version takes nothing over.
pub(in crate::holder) const VERSION: u64 = 1;
/// The most sessions: the kernel's default for pseudo-terminals is a quarter of it.
pub(in crate::holder) const SLOTS_MAX: u32 = 1 << 14;
/// The bytes of each header page and of the page that begins a slot.
pub(super) const PAGE: usize = 4096;
/// The most requests that wait for the start of one session. The server sends one, and another
/// when it was restarted meanwhile.
pub(super) const ASKED: usize = 16;
/// The clients of one session whose input is counted.
pub(super) const CLIENTS: usize = 64;
/// Bytes of a blob that is kept on the slot's first page.
pub(super) const BLOB_SMALL: usize = 1 << 10;
/// Bytes of the name of a failed step.
pub(super) const STEP: usize = 64;

/// The words of the whole holder. A descriptor's word is its number and one; 0 is none.
#[repr(C)]
pub(in crate::holder) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    /// The slots that the file has room for.
    pub(super) slots: AtomicU64,
    /// Process id of the guardian.
    pub(in crate::holder) guardian: AtomicU64,
    /// Process id of the holder.
    pub(in crate::holder) holder: AtomicU64,
    /// 1 once everything is to end.
    pub(in crate::holder) ending: AtomicU64,
    /// 1 once everything has ended.
    pub(in crate::holder) ended: AtomicU64,
    /// Process id of the holder that is replaced together with its guardian; 0 if there is none.
    pub(in crate::holder) upgrading: AtomicU64,
    /// Process id of the holder that a guardian of another program replaces, from the moment on at
    /// which that is decided.
    pub(in crate::holder) retired: AtomicU64,
    /// The limit of open files that sessions get.
    pub(in crate::holder) open_files: AtomicU64,
    pub(in crate::holder) fds: HeaderFds,
    pub(super) account: AccountWords,
    pub(in crate::holder) server: ServerWords,
    pub(in crate::holder) stats: StatsWords,
    pub(super) journal: JournalWords,
}

/// The descriptors that belong to no session.
#[repr(C)]
pub(in crate::holder) struct HeaderFds {
    /// This memory.
    pub(in crate::holder) memory: AtomicU64,
    pub(in crate::holder) directory: AtomicU64,
    pub(in crate::holder) lock: AtomicU64,
    pub(in crate::holder) listener: AtomicU64,
    /// The connection of the server.
    pub(in crate::holder) server: AtomicU64,
    /// An eventfd on which the guardian tells the holder of exits.
    pub(in crate::holder) poke: AtomicU64,
    /// A pidfd of the guardian.
    pub(in crate::holder) guardian: AtomicU64,
    /// `/proc/PID/task/PID/io` of the holder, opened while it lived.
    pub(in crate::holder) io: AtomicU64,
    /// The program that is to replace this one, and the connection of whoever has asked for that.
    pub(in crate::holder) program: AtomicU64,
    pub(in crate::holder) upgrader: AtomicU64,
}

impl HeaderFds {
    pub(super) fn all(&self) -> [&AtomicU64; 10] {
        [
            &self.memory,
            &self.directory,
            &self.lock,
            &self.listener,
            &self.server,
            &self.poke,
            &self.guardian,
            &self.io,
            &self.program,
            &self.upgrader,
        ]
    }
}

/// See [`super::account`].
#[repr(C)]
pub(super) struct AccountWords {
    /// `rchar` and `wchar` of the holder, as far as it has noted what it read and wrote.
    pub(super) read: AtomicU64,
    pub(super) written: AtomicU64,
    /// The kind of the operation under way, and its session; 0 is none.
    pub(super) intent: AtomicU64,
    /// The position at which the operation began.
    pub(super) at: AtomicU64,
}

/// The messages of the server's connection.
#[repr(C)]
pub(in crate::holder) struct ServerWords {
    /// Messages taken from the connection.
    pub(in crate::holder) taken: AtomicU64,
    /// The number of the message that was performed last, if it must not be performed twice.
    pub(in crate::holder) performed: AtomicU64,
    /// The number of the message whose performance has begun and may not be done.
    pub(in crate::holder) begun: AtomicU64,
    /// How often the next message was begun. A message that kills the holder is not tried for ever.
    pub(in crate::holder) tries: AtomicU64,
}

/// Counters, see [`Stats`](crate::holder::wire::Stats).
#[repr(C)]
pub(in crate::holder) struct StatsWords {
    pub(in crate::holder) orphans_reaped: AtomicU64,
    pub(in crate::holder) refused: AtomicU64,
    pub(in crate::holder) malformed: AtomicU64,
    pub(in crate::holder) panics: AtomicU64,
    pub(in crate::holder) takeovers: AtomicU64,
    pub(in crate::holder) completed: AtomicU64,
    pub(in crate::holder) gaps: AtomicU64,
}

/// See [`super::journal`].
#[repr(C)]
pub(super) struct JournalWords {
    /// The stores that are not all done; 0 is none.
    pub(super) count: AtomicU64,
    /// The session in whose ring some of them are.
    pub(super) slot: AtomicU64,
    pub(super) stores: [StoreWords; STORES],
}

/// The most stores of one commit.
pub(super) const STORES: usize = 16;

#[repr(C)]
pub(super) struct StoreWords {
    pub(super) place: AtomicU64,
    pub(super) value: AtomicU64,
}

/// The first page of a slot.
#[repr(C)]
pub(super) struct SlotPage {
    /// 0: the slot is free, and no other word of it means anything. 1: it holds a session.
    pub(super) live: AtomicU64,
    pub(super) id: [AtomicU64; 2],
    pub(super) leader: AtomicU64,
    pub(super) start_time: AtomicU64,
    pub(super) fds: SlotFds,
    /// 0 while the shim has not executed the program, 1 once it has, 2 if it has failed.
    pub(super) progress: AtomicU64,
    pub(super) failed_errno: AtomicU64,
    pub(super) failed_step: [AtomicU64; STEP / 8],
    /// Requests that wait for the start, each with one added; 0 is none.
    pub(super) asked: [AtomicU64; ASKED],
    /// 0, or the leader's exit.
    pub(super) exit: AtomicU64,
    /// Bytes read since the leader was reaped.
    pub(super) drained: AtomicU64,
    /// Which of the four places of blobs is valid, and its length: `place << 32 | length`.
    pub(super) blob: AtomicU64,
    /// Which checkpoint is valid, 1 or 2; 0 is none.
    pub(super) checkpoint: AtomicU64,
    pub(super) checkpoints: [CheckpointWords; 2],
    pub(super) queue: QueueWords,
    /// When the input of each client was used last, in messages.
    pub(super) used: [AtomicU64; CLIENTS],
    pub(super) small_blobs: [[u8; BLOB_SMALL]; 2],
}

/// A session's descriptors.
#[repr(C)]
pub(super) struct SlotFds {
    pub(super) master: AtomicU64,
    pub(super) slave: AtomicU64,
    pub(super) ring: AtomicU64,
    pub(super) wake: AtomicU64,
    pub(super) report: AtomicU64,
    pub(super) process: AtomicU64,
}

impl SlotFds {
    pub(super) fn all(&self) -> [&AtomicU64; 6] {
        [&self.master, &self.slave, &self.ring, &self.wake, &self.report, &self.process]
    }
}

#[repr(C)]
pub(super) struct CheckpointWords {
    pub(super) offset: AtomicU64,
    pub(super) replies: AtomicU64,
    pub(super) resizes: AtomicU64,
    /// `cols << 16 | rows`.
    pub(super) size: AtomicU64,
    pub(super) fd: AtomicU64,
    pub(super) length: AtomicU64,
}

/// Positions in the queue's input, which count bytes since the session's beginning.
#[repr(C)]
pub(super) struct QueueWords {
    /// The position whose byte is at the beginning of the queue's memory.
    pub(super) origin: AtomicU64,
    /// Everything before it is written to the terminal.
    pub(super) start: AtomicU64,
    /// Everything before it is accepted.
    pub(super) end: AtomicU64,
}

const _: () = assert!(size_of::<Header>() <= PAGE && size_of::<SlotPage>() <= PAGE);

/// The number of a recorded descriptor.
pub(super) fn fd_of(word: &AtomicU64) -> Option<i32> {
    i32::try_from(word.load(Relaxed)).ok()?.checked_sub(1).filter(|fd| *fd >= 0)
}

/// Adds to a counter that this process alone writes.
pub(super) fn add(word: &AtomicU64, more: u64) {
    word.store(word.load(Relaxed).saturating_add(more), Release);
}
