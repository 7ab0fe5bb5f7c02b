//! A session: one process on a PTY, independent of how clients reach it.
//!
//! ```text
//!   WebSocket frames ──► Connection ──► Link ──► holder        (input: never through an actor)
//!   response body    ◄── Outlet     ◄── Link ◄── ring          (output: pulled by cursor)
//!                          │ Outbox ▲
//!                        Connection ◄──────► Session ──► Store (state only)
//! ```
//!
//! - [`Session`]: the actor. Owns its connections and its destroy timer, executes the
//!   effects of [`crate::lifecycle`].
//! - [`Connection`]: the actor of one WebSocket. Input, control, heartbeat.
//! - [`OutputBody`]: the response body that pulls this client's bytes from the ring.
//! - [`Blob`]: what the holder keeps of a session for a server that finds no row.
//! - [`Shots`]: the screen at one moment. [`wait_for`]: waits for something on it.
//! - [`SessionHandle`]: what connections may touch without asking the session's actor.

mod actor;
mod audit;
mod blob;
mod closing;
mod commands;
mod connection;
mod dialect;
mod effects;
mod expected;
mod flow;
mod frames;
mod handle;
mod in_flight;
mod in_use;
mod input;
mod nesting;
mod notifications;
mod outbox;
mod output_body;
mod picture;
mod record;
mod remains;
mod reports;
mod requests;
mod screen_wait;
mod shots;
mod size;
mod state_broadcast;
mod writers;

pub use actor::{Arrival, Session, SessionContext};
pub use audit::Causes;
pub(crate) use audit::log_transition;
pub use blob::Blob;
pub(crate) use closing::close_frames;
pub use connection::{Attachment, Connection, ConnectionSetup, Revoked};
pub use dialect::Dialect;
pub(crate) use effects::now;
pub use expected::Expected;
pub use frames::Frames;
pub use handle::SessionHandle;
pub(crate) use in_flight::SKIP_PICTURE;
pub use in_use::InUse;
pub use input::{TypeOutcome, type_all};
pub use nesting::{Nested, Nesting};
pub(crate) use notifications::tell_end;
pub use outbox::Outbox;
pub use output_body::{Lag, OutputBody, Start};
pub use picture::Picture;
pub use record::{Record, Revival};
pub(crate) use record::{adopted, missed, timeouts};
pub use requests::{
    Attach, Attached, ConnectionEvent, Dismiss, Kill, Killed, NotDone, Noticed, Patch, Resize,
    Seen, SessionEnded, Shutdown, Signal, SignalError, SignalTarget, StopForRestart,
};
pub use screen_wait::{Condition, Waited, wait_for};
pub use shots::{Large, NoShot, Shot, Shots};
pub use writers::InputWriter;
