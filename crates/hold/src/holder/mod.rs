//! The holder, its guardian, and the server's handle to them.
//!
//! `stayd hold` owns every session's PTY master and is the parent (or subreaper) of all its
//! processes. If the server dies, the sessions run on; the next server connects and adopts them. If
//! the holder dies, its guardian replaces it, and if the guardian dies, the holder becomes the
//! guardian of another (see `process::guardian`): all of the holder's state outlives it (`shared`).
//!
//! ```text
//!  server ── client ──┐ wire: messages with descriptors on a SEQPACKET socket
//!                     ▼
//!  holder ── process: one epoll loop ── fork_server ── exec: the shim that becomes the program
//!                     │ ledger: input exactly once
//!   ▲                 ├ shared: its state
//!  guardian           └ crate::ring: output, in shared memory
//! ```
//!
//! That the holder cannot panic is not proven. Clippy denies everything that panics (indexing,
//! slicing, unchecked arithmetic, `unwrap` and the like) in this whole crate, which is all of our
//! code that its process runs, and the parsers and the real process are fuzzed. A panic that a lint
//! cannot see (in a library, or in a method such as `remove`) is caught: the loop runs each event
//! under `catch_unwind`, counts a panic and gives up the one session or connection that it was
//! about. What ends the process (the failure of a small allocation, a stack overflow, the OOM killer,
//! which kills sessions first) is a takeover by another holder. A request at which holders die again
//! and again is refused in the end. Output needs no allocation.

mod client;
mod confine;
mod credentials;
mod exec;
pub mod fork_server;
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
    Checkpoint, Held, Holder, HolderError, Notice, Preparation, Resumed, SpawnError, SpawnSpec,
    Stats, Unusable, upgrade,
};
pub use ledger::QUEUE as INPUT_QUEUE;
pub use paths::Paths;
pub use socket::register;
pub use wire::{Account, BLOB_MAX, CHECKPOINT_MAX, CheckpointMeta, Confinement, Limits};
