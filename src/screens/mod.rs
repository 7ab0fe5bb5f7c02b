//! Who keeps the screens: what every session's terminal shows, as of any offset.
//!
//! ```text
//!  session ── nudge ──►┌ screen-N thread ──────────────┐── replies ───► holder (as input)
//!  outlet, HTTP ─ look │ ring ─► Screen ─► snapshot     │── checkpoint ► holder
//!            ◄─────────└───────────────────────────────┘── events ────► session
//! ```
//!
//! - [`Screens`]: the threads, which are named `screen-…`. A session's screen lives on one of
//!   them and is touched by no other.
//! - [`ScreenHandle`]: one session's screen, from any thread.
//!
//! - [`LastScreen`]: what is left of one after its session's end.
//!
//! A screen is behind the output: the thread looks at it while there is output, some
//! times a second, skips what can be skipped exactly (see [`crate::screen`]), and sleeps
//! while there is none. Long before the ring is full, and when output pauses, it leaves a
//! checkpoint with the holder, which only then lets the ring's tail pass; an idle screen is
//! folded into that. After a crash the screen is the checkpoint and what the ring holds
//! since, with resizes where they happened. Queries are answered as input of a client of
//! their own, counted like any other's: what was answered before a crash is not answered
//! again.
//!
//! Every use of a screen is guarded: where the emulator panics the screen begins anew, empty,
//! and the second time it is given up; then the session goes on with its bytes alone. A panic
//! anywhere else on these threads ends the server, whose successor finds all sessions.

mod compressed;
mod faults;
mod guard;
mod handle;
mod last;
mod thread;
mod tracked;
mod trim;

pub use guard::contains_panics;
pub use handle::{Look, ScreenHandle, ScreenReader, Screens};
pub use last::LastScreen;
pub use tracked::{Events, Origin, ScreenEvents};
pub(crate) use trim::trim;
