//! Recordings: a session's output, its sizes and, on request, its input, written as asciicast
//! v2 for players.
//!
//! ```text
//!  session ── nudge, typed ──►┌ recorder thread ───────────────────┐──► recordings/ID/0001.cast …
//!  ring ◄── tail held back ───│ ring ─► SessionRecorder ─► Segments │──► recordings/ID/position
//!  HTTP ── flush, remove ────►└────────────────────────────────────┘
//!  HTTP ◄── Playback ◄── the files
//! ```
//!
//! - [`Recorder`]: the thread that writes all recordings, so that no other thread waits for a disk.
//! - [`Recorded`]: one recorded session, from any thread.
//! - [`Playback`]: a recording's files, read as one.
//! - [`cast`]: the format, line by line.
//!
//! The recorder reads the ring by a cursor of its own and is no client: it does not count as
//! attached. The ring's tail does not pass output that is not written, so that the successor of
//! a killed server goes on where the recording stopped: `position` says where that was, and
//! whatever stands behind it in the files is cut off and written again. A recorder that makes no progress
//! (the disk is full) lets the program run after a while; what was lost by then is a marker
//! in the recording.

pub mod cast;
#[cfg(test)]
#[path = "../../tests/fuzz/recorder.rs"]
mod fuzz;
mod handle;
mod playback;
mod rotation;
mod segments;
mod session;
mod tail_gate;
mod thread;
mod typed;

pub use handle::{Recorded, Recorder, Subject};
pub use playback::Playback;
pub use segments::Limits;
