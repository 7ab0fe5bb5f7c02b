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
//! - [`Outlet`]: the response body that pulls this client's bytes from the ring.
//! - [`Blob`]: what the holder keeps of a session for a server that finds no row.
//! - [`Shots`]: the screen at one moment. [`wait_for`]: waits for something on it.
//! - [`Link`]: what connections may touch without asking the session's actor.

mod actor;
mod announce;
mod blob;
mod causes;
mod closing;
mod connection;
mod dialect;
mod effects;
mod expected;
mod flow;
mod frames;
mod in_flight;
mod in_use;
mod link;
mod nesting;
mod orders;
mod outbox;
mod outlet;
mod picture;
mod remains;
mod reports;
mod requests;
mod revival;
mod shots;
mod size;
mod telling;
mod typing;
mod watching;
mod writers;

pub use actor::{Arrival, Session, SessionContext};
pub use blob::Blob;
pub use causes::Causes;
pub(crate) use closing::close_frames;
pub use connection::{Attachment, Connection, ConnectionSetup, Revoked};
pub use dialect::Dialect;
pub(crate) use effects::{now, write_life};
pub use expected::Expected;
pub use frames::Frames;
pub(crate) use in_flight::SKIP_PICTURE;
pub use in_use::InUse;
pub use link::Link;
pub use nesting::{Nested, Nesting};
pub use outbox::Outbox;
pub use outlet::{Lag, Outlet, Start};
pub use picture::Picture;
pub use requests::{
    Attach, Attached, ConnectionEvent, Dismiss, EndToRestart, Kill, Killed, NotDone, Noticed,
    Patch, Resize, Seen, SessionEnded, Shutdown, Signal, SignalError, SignalTarget,
};
pub use revival::Revival;
pub(crate) use revival::decide_restart;
pub use shots::{Large, NoShot, Shot, Shots};
pub(crate) use telling::tell_end;
pub use typing::{TypeOutcome, type_all};
pub use watching::{Condition, Waited, wait_for};
pub use writers::InputWriter;
