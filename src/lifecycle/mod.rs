//! A session's life as a pure state machine: an event in, the legal next state and
//! effects (as data) out. The session actor only executes the effects.
//!
//! ```text
//!            attached            detached (last)
//!  RUNNING ───────────► ACTIVE ◄────────────────► IDLE
//!     │                   │       attached          │
//!     │  leader exits, or a kill or a timer empties │
//!     └───────────────────┼── its process tree ─────┘
//!                         ▼
//!                 TERMINATED or ERROR
//! ```
//!
//! A kill or a timer does not end a session at once: it is *ending* (see [`Ending`],
//! recorded before the first signal) until its whole process tree is seen empty.
//!
//! - `words`: statuses, reasons and exits, as rows, logs and JSON spell them
//! - `machine`: [`Life`], its events, effects and refusals

mod machine;
mod words;

#[cfg(test)]
mod tests;

pub use machine::{Effect, Event, Life, Refused, Saved};
pub use words::{
    Deadline, End, EndReason, Ending, Exit, Now, Reason, Status, Timeouts, UnknownWord,
};
