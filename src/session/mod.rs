//! A session: one process on a PTY, independent of how clients reach it.
//!
//! ```text
//!   WebSocket frames ──► Connection ──► SessionHandle ──► holder  (input: never through an actor)
//!   response body    ◄── OutputBody ◄── SessionHandle ◄── ring    (output: pulled by cursor)
//!                          │ Outbox ▲
//!                        Connection ◄──────► Session ──► Store    (state only)
//! ```
//!
//! - [`Session`]: the actor, in one file. It owns a [`Record`], which decides, and parts that
//!   know no actor: `clients`, `countdown`, `flow`, `notifications`, `size`.
//! - [`SessionContext`]: what it has of the server.
//! - [`Record`]: row, life and causes of a session, with or without an actor. The only place
//!   where a transition is made.
//! - [`Launch`]: makes a session of what the holder holds.
//! - `attachment`: what the session's actor and its connections tell each other; `requests`:
//!   what everybody else asks of it.
//! - `processes`: signals, and the end of a process tree; `remains`: what is kept after it.
//! - [`Connection`]: the actor of one WebSocket. Input, control, heartbeat.
//! - [`OutputBody`]: the response body that pulls this client's bytes from the ring.
//! - [`Blob`]: what the holder keeps of a session for a server that finds no row.
//! - [`Shots`]: the screen at one moment. [`wait_for`]: waits for something on it.
//! - [`SessionHandle`]: what connections may touch without asking the session's actor.

mod actor;
mod attachment;
mod audit;
mod blob;
mod clients;
mod connection;
mod context;
mod countdown;
mod dialect;
mod flow;
mod frames;
mod handle;
mod input;
mod launch;
mod nesting;
mod notices;
mod notifications;
mod outbox;
mod output_body;
mod picture;
mod processes;
mod record;
mod remains;
mod reports;
mod requests;
mod screen_wait;
mod shots;
mod size;
mod timers;
mod writers;

pub use actor::Session;
pub use attachment::{Attach, Attached, Attachment, ConnectionEvent};
pub use audit::Causes;
pub(crate) use audit::log_transition;
pub use blob::Blob;
pub use connection::{Connection, ConnectionSetup, Revoked};
pub use context::SessionContext;
pub use countdown::InUse;
pub(crate) use countdown::now;
pub use dialect::Dialect;
pub use flow::Arrival;
pub use frames::Frames;
pub use handle::SessionHandle;
pub use input::{TypeOutcome, type_all};
pub use launch::Launch;
pub use nesting::{Nested, Nesting};
pub use notices::Notices;
pub(crate) use notifications::tell_end;
pub use outbox::Outbox;
pub(crate) use outbox::{SKIP_PICTURE, close_frames};
pub use output_body::{Lag, OutputBody, Start};
pub use picture::Picture;
pub(crate) use processes::end_tree;
pub use record::{Record, Revival};
pub(crate) use record::{adopted, missed, timeouts};
pub use requests::{
    Dismiss, Expected, Kill, Killed, NotDone, Noticed, Patch, Resize, Seen, SessionEnded, Shutdown,
    Signal, SignalError, SignalTarget, StopForRestart,
};
pub use screen_wait::{Condition, Waited, wait_for};
pub use shots::{Large, NoShot, Shot, Shots};
pub use writers::InputWriter;
