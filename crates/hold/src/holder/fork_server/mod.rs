//! `stayd __fork`: the fork server, a small process of the holder's that forks itself for each
//! session. The child is the holder's and becomes the session's program, see `exec`.
//!
//! The holder does not fork: that would copy the table of its descriptors, of which there are
//! thousands beside thousands of sessions. And to execute our own binary for each session would take
//! a millisecond, most of it for relocations and page faults that are the same each time. The fork
//! server has them behind it, holds one descriptor and waits.
//!
//! It has no state. If it dies, the next start of a session finds that and starts another one; when
//! the holder dies, its socket closes and it ends. What it and its children inherit (limits, the
//! account, the mount namespace) is what the holder had when it started it.
//!
//! - `handle`: the holder's side. `serve`: the process. `request`: what passes between them.
//! - `sibling`: the system call.

mod handle;
mod request;
mod serve;
mod sibling;

pub(super) use handle::ForkServer;
pub(super) use request::Request;
pub use serve::main;
