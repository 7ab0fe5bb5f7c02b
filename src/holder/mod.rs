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
//! That the holder does not panic is known from this: in all that runs in it (this module,
//! [`crate::ring`] and [`crate::pty`]) the lints below refuse what panics by itself:
//! indexing, `unwrap`, `expect`, `panic!`, arithmetic that can overflow. What they do not see
//! is calls that panic on a wrong argument: `drain` of the input queue, `remove` and
//! `swap_remove` of an index just found, `copy_from_slice` of a header's field, each with its
//! bound in sight. Memory that cannot be had aborts, as anywhere; a message, a blob and a
//! checkpoint have bounds ([`wire::MESSAGE_MAX`], [`BLOB_MAX`], [`wire::CHECKPOINT_MAX`]).
//! The parsers are fed random bytes by their tests, and the whole holder nonsense by the
//! integration tests.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod client;
pub mod exec;
mod launch;
mod ledger;
mod memfd;
pub mod process;
mod socket;
pub mod wire;

pub use client::{
    Checkpoint, Held, Holder, HolderError, Notice, Pending, Piece, SpawnError, SpawnSpec, Stats,
};
pub use ledger::QUEUE as INPUT_QUEUE;
pub use socket::register;
pub use wire::CheckpointMeta;

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
