//! One WebSocket of a session: its actor, and the response body that pulls the session's output.
//!
//! - [`Connection`]: the actor. Input, control messages, heartbeat. `frames`: what it reads,
//!   bounded before it is kept. `reports`: which input is a terminal's own answer.
//! - [`OutputBody`]: pulls this client's bytes from the ring by its own cursor. `picture`: what it
//!   sends where it cannot continue exactly.
//! - [`Outbox`]: what both share on one thread. [`Dialect`]: how either speaks.
//! - [`Nesting`]: which sessions are shown inside which.

mod actor;
mod dialect;
mod frames;
#[cfg(test)]
#[path = "../../../tests/fuzz/connection.rs"]
mod fuzz;
mod nesting;
mod outbox;
mod output_body;
mod picture;
mod reports;

pub use actor::{Connection, ConnectionSetup, Revoked};
pub use dialect::Dialect;
pub(super) use dialect::json_text;
pub use frames::Frames;
pub use nesting::{Nested, Nesting};
pub use outbox::Outbox;
pub(crate) use outbox::{SKIP_PICTURE, close_frames};
pub use output_body::{Lag, OutputBody, Start};
pub use picture::Picture;
