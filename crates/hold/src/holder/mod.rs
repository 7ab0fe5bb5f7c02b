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
mod paths;
pub mod process;
mod socket;
pub mod wire;

pub use client::{
    Checkpoint, Held, Holder, HolderError, Notice, Resumed, SpawnError, SpawnSpec, Stats, Unusable,
};
pub use ledger::QUEUE as INPUT_QUEUE;
pub use paths::Paths;
pub use socket::register;
pub use wire::{BLOB_MAX, CHECKPOINT_MAX, CheckpointMeta};
