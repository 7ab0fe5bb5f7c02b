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
//! A kill or a timer does not end a session at once: from then on it is *ending*, until its whole
//! process tree is empty. [`Ending`] is recorded before the first signal.
//!
//! - `types`: statuses, reasons and exits, as rows, logs and JSON spell them
//! - `restart`: whether an ended session's command is started again
//! - `event`: events, effects and refusals
//! - `machine`: [`Lifecycle`], which turns events into effects

mod event;
mod machine;
mod restart;
mod types;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

pub use event::{Effect, Event, LifecycleSnapshot, Refused};
pub use machine::Lifecycle;
pub use restart::{Again, RestartPolicy, again};
pub use types::{
    Deadline, End, EndReason, Ending, Exit, IdleWhen, Now, Reason, Signals, Status, Timeouts,
    UnknownWord,
};
