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
//!   know no actor: `clients`, `flow`, `idle_output`, `notifications`, `size`, `timers`.
//! - [`SessionContext`]: what it has of the server.
//! - [`Record`]: row, life and [`Causes`] of a session, with or without an actor. The only place
//!   where a transition is made.
//! - [`Launch`]: makes a session of what the holder holds.
//! - `attachment`: what the session's actor and its connections tell each other; `requests`:
//!   what everybody else asks of it.
//! - `processes`: signals, and the end of a process tree; `remains`: what is kept after it.
//! - `connection`: the actor of one WebSocket, and the body that pulls its client's output.
//! - [`Blob`]: what the holder keeps of a session for a server that finds no row.
//! - [`SessionHandle`]: what connections may touch without asking the session's actor.

mod actor;
mod attachment;
mod attending;
mod blob;
mod causes;
mod clients;
mod connection;
mod context;
mod flow;
#[cfg(test)]
#[path = "../../tests/fuzz/session.rs"]
mod fuzz;
mod handle;
mod idle_output;
mod input;
mod launch;
mod notices;
mod notifications;
mod processes;
mod readers;
mod record;
mod remains;
mod requests;
mod size;
mod timers;
mod writers;

pub use actor::Session;
pub use attachment::{Attach, Attached, Attachment, ConnectionEvent};
pub use blob::Blob;
pub use causes::Causes;
pub(crate) use causes::log_transition;
pub use connection::{
    Connection, ConnectionSetup, Dialect, Frames, Lag, Nested, Nesting, Outbox, OutputBody,
    Picture, Revoked, Start,
};
pub(crate) use connection::{SKIP_PICTURE, close_frames};
pub use context::SessionContext;
pub use flow::Arrival;
pub use handle::SessionHandle;
pub use input::{TypeOutcome, type_all};
pub use launch::Launch;
pub use notices::Notices;
pub(crate) use notifications::tell_end;
pub(crate) use processes::end_tree;
pub use readers::ReadFrom;
pub use record::{Record, Revival};
pub(crate) use record::{adopted, missed, timeouts};
pub use requests::{
    Dismiss, Expected, Kill, Killed, NotDone, Noticed, Patch, Report, Resize, Seen, SessionEnded,
    Shutdown, Signal, SignalError, SignalTarget, StopForRestart, Visibility,
};
pub use timers::InUse;
pub(crate) use timers::now;
pub use writers::InputWriter;
