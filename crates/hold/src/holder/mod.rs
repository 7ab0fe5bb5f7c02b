//! The holder, the one process that must not die, and the server's handle to it.
//!
//! `stayd hold` owns every session's PTY master and is the parent (or subreaper) of all its
//! processes. If the server dies, the sessions run on; the next server connects and adopts them.
//!
//! ```text
//!  server ── client ──┐ wire: messages with descriptors on a SEQPACKET socket
//!                     ▼
//!  holder ── process: one epoll loop ── exec: the shim that becomes the program
//!                     │ ledger: input exactly once
//!                     └ crate::ring: output, in shared memory
//! ```
//!
//! That the holder cannot panic is not proven. Clippy denies everything that panics (indexing,
//! slicing, unchecked arithmetic, `unwrap` and the like) in this whole crate, which is all of our
//! code that its process runs, and the parsers and the real process are fuzzed. A panic that a lint
//! cannot see (in a library, or in a method such as `remove`) is caught: the loop runs each event
//! under `catch_unwind`, counts a panic and gives up the one session or connection that it was
//! about. The holder does not survive the failure of a small allocation (Rust aborts; Linux refuses
//! one only under `RLIMIT_AS` or strict overcommit, and large or growing allocations are tried
//! first and refused cleanly), a stack overflow, or the OOM killer, which kills sessions first.
//! Output needs no allocation.

mod client;
mod confine;
mod credentials;
pub mod exec;
#[cfg(test)]
#[path = "../../../../tests/fuzz/holder.rs"]
mod fuzz;
mod launch;
mod ledger;
mod memfd;
mod paths;
pub mod process;
mod shared;
mod socket;
pub mod wire;

pub use client::{
    Checkpoint, Held, Holder, HolderError, Notice, Resumed, SpawnError, SpawnSpec, Stats, Unusable,
    upgrade,
};
pub use ledger::QUEUE as INPUT_QUEUE;
pub use paths::Paths;
pub use socket::register;
pub use wire::{Account, BLOB_MAX, CHECKPOINT_MAX, CheckpointMeta, Confinement, Limits};
