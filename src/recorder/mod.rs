//! Recordings: what a session prints, its sizes and, where that was asked for, what is typed
//! into it, written down as asciicast v2 for players.
//!
//! ```text
//!  session ── nudge, typed ──►┌ recorder thread ─────────┐──► recordings/ID/0001.cast …
//!  ring ◄── tail held back ───│ ring ─► Tape ─► Reel     │──► recordings/ID/position
//!  HTTP ── flush, remove ────►└──────────────────────────┘
//!  HTTP ◄── Playback ◄── the files
//! ```
//!
//! - [`Recorder`]: the thread that writes all recordings. Nobody else waits for a disk.
//! - [`Recorded`]: one recorded session, from any thread.
//! - [`Playback`]: a recording's files, read as one.
//! - [`cast`]: the format, line by line.
//!
//! The recorder is a reader of the ring by a cursor of its own and no client: nobody counts
//! it. The ring's tail does not pass what is written, so that a server which was killed goes
//! on where its predecessor has stopped: `position` says where that was, and whatever stands
//! behind it in the files is cut off and written again. A recorder that makes no progress
//! (the disk is full) lets the program run after a while; what was lost by then is a marker
//! in the recording.

pub mod cast;
mod handle;
mod playback;
mod rotation;
mod segments;
mod session;
mod tail_gate;
mod thread;

pub use handle::{Recorded, Recorder, Subject};
pub use playback::Playback;
pub use segments::Limits;
