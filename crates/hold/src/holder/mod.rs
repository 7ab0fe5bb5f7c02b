//! The holder: the one process that must live, and the server's handle to it.
//!
//! `stayd hold` owns every session's PTY master and is the parent (or subreaper) of all of
//! its processes. A server that dies takes nothing with it; its successor connects, adopts
//! what is held and goes on.
//!
//! ```text
//!  server ── client ──┐ wire: messages with descriptors on a SEQPACKET socket
//!                     ▼
//!  holder ── process: one epoll loop ── exec: the shim that becomes the program
//!                     │ ledger: input exactly once
//!                     └ crate::ring: output, in shared memory
//! ```
//!
//! How do we know that the holder cannot panic? Not by proof. Clippy denies what panics
//! (indexing, slicing, unchecked arithmetic, `unwrap` and its kin) in all of this crate, which
//! is everything of ours that its process runs; the parsers and the real process are fuzzed. What a lint cannot see (a library, or a method such as
//! `remove`) would be caught: the loop runs each event under `catch_unwind`, counts a panic
//! and gives up the one session or connection that it was about. Not survived are the
//! failure of a small allocation (Rust aborts; Linux refuses one only under `RLIMIT_AS` or
//! strict overcommit, and whatever is large or grows asks first and is refused cleanly), an
//! overflowing stack, and the OOM killer, before which sessions go first. Output needs no
//! allocation.

mod client;
pub mod exec;
mod launch;
mod ledger;
mod memfd;
pub mod process;
mod socket;
pub mod wire;

pub use client::{
    Checkpoint, Held, Holder, HolderError, Notice, Resumed, SpawnError, SpawnSpec, Stats, Unusable,
};
pub use ledger::QUEUE as INPUT_QUEUE;
pub use socket::register;
pub use wire::{CHECKPOINT_MAX, CheckpointMeta};

use std::path::PathBuf;

/// Where a holder lives and how to start one.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The state directory: `holder.sock`, `holder.pid` and `holder.lock` are in it.
    pub state_dir: PathBuf,
    /// The program whose `hold` verb is started when no holder answers.
    pub program: PathBuf,
}

impl Paths {
    /// A holder in `state_dir`, started from the running program itself.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        // The link, not what it points to: an upgrade may have replaced the file.
        Paths { state_dir: state_dir.into(), program: PathBuf::from("/proc/self/exe") }
    }
}

/// The socket in the state directory.
const SOCKET: &str = "holder.sock";
/// The holder's process id, in decimal.
const PID_FILE: &str = "holder.pid";
/// Held by the one holder of a state directory for as long as it lives.
const LOCK_FILE: &str = "holder.lock";
/// The longest blob that is kept with a session, in bytes.
pub const BLOB_MAX: usize = 4 << 10;
/// Names the descriptor on which a launched holder says that it listens.
const READY_ENV: &str = "STAYD_HOLDER_READY";
