//! The threads that track what every session's terminal shows.
//!
//! ```text
//!  session ── nudge ────────►┌ screen-N thread ──────────┐── replies ────► holder (as input)
//!  connection, HTTP ─ inspect│ ring ─► Screen ─► snapshot │── checkpoint ─► holder
//!                   ◄────────└───────────────────────────┘── events ─────► session
//! ```
//!
//! - [`Screens`]: the threads, which are named `screen-…`. A session's screen lives on one of
//!   them and is touched by no other.
//! - [`ScreenHandle`]: one session's screen, from any thread; [`ScreenReader`]: for reading
//!   only.
//! - [`LastScreen`]: a screen as it is kept after its session's end.
//! - [`ScreenSince`]: what was printed since an offset, on a screen of its own.
//!
//! A screen is behind the output: its thread updates it at a tick of milliseconds while there
//! is output, and sleeps while there is none. Output that only prints and scrolls is looked through
//! and left alone (see [`crate::screen::PlainRun`]): it is emulated when somebody looks at the
//! screen, when anything else follows, or when the program pauses. Most of a long run is skipped
//! before that, because nothing of it is left by then, to the cell.
//!
//! Long before the ring is full, and when output pauses, the thread leaves a checkpoint with the
//! holder, which only then lets the ring's tail pass. In a flood that is the state at the line
//! from which the rest of the ring brings back all that is shown. An idle screen is
//! compressed into that. After a crash the screen is rebuilt from the checkpoint and from what
//! the ring holds since, with resizes where they happened. Queries are answered as input of a
//! client of their own, counted like any other's, so that a query which was answered before a
//! crash is not answered again.
//!
//! Every use of a screen is guarded: where the emulator panics the screen begins anew, empty,
//! and the second time it is given up; then the session goes on with its bytes alone. A panic
//! anywhere else on these threads ends the server, whose successor finds all sessions.

mod checkpoints;
mod compressed;
mod contained;
mod early;
mod events;
mod faults;
#[cfg(test)]
#[path = "../../tests/fuzz/screens.rs"]
mod fuzz;
mod guard;
mod handle;
mod inspection;
mod last;
mod since;
mod source;
mod thread;
mod tracked;
mod trim;

pub use events::{EventSink, ScreenEvents};
pub use guard::contains_panics;
pub use handle::{ScreenHandle, ScreenReader, Screens};
pub use inspection::Inspection;
pub use last::LastScreen;
pub use since::ScreenSince;
pub use tracked::Origin;
pub(crate) use trim::trim;
