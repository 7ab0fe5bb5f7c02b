//! stayd: a supervisor for terminal sessions. A session is a process on a PTY that outlives
//! every browser tab, every network and the server that serves it.
//!
//! ```text
//!  browser, CLI, any WebSocket client
//!        │ HTTP + WebSocket (TCP, TLS, unix socket)
//!  ┌─────▼────────────── stayd serve: may die at any instruction ─────┐
//!  │ Connection ─┐                                                    │
//!  │ Connection ─┼─ Session ── state ──► Store ──────────────────────►│ stayd.db
//!  │ Connection ─┘     │ ▲                                            │
//!  └───────────────────┼─┼────────────────────────────────────────────┘
//!       input, resize, │ │ ring in shared memory, eventfd
//!       signal         ▼ │
//!                   stayd hold: two processes, each replaced by the other when it dies
//!                      │
//!                     PTY ── bash, vim, an agent …
//! ```
//!
//! Two parts are crates of their own, which know nothing of this one: `stayd-screen` is
//! [`screen`], and `stayd-hold` is [`holder`], [`ring`], [`pty`], [`cgroup`], [`tree`],
//! [`private`] and [`id`]. They are re-exported under these names.
//!
//! The modules; arrows point down only:
//!
//! - [`cli`]: one file a verb; the terminal's side of `attach`.
//! - [`server`]: starts everything in order, handles signals, stops in order.
//! - [`hooks`]: what is run or called when a session needs somebody, or ends.
//! - [`http`]: routes, rights, the WebSocket upgrade, errors.
//! - [`fleet`]: this machine among others: the directory of what runs where.
//! - [`mcp`]: what agents say to use sessions as tools: messages, arguments, answers.
//! - [`connections`]: TCP below HTTP: limits, and which connections are closed to make room.
//! - [`registry`]: ids and names → sessions; create, find, restore. Never sees bytes.
//! - [`session`]: the actor of one PTY, its connections, and the bodies that pull output.
//! - [`events`]: the last events of the sessions, and their listeners.
//! - [`audit`]: the audit log: what was done, by whom, and what was refused.
//! - [`rights`]: who may do what with which session; tokens, share links and logins.
//! - [`store`]: the persistence actor, through which every write to SQLite goes, one after another.
//! - [`recorder`]: recordings of sessions: written, rotated, read back.
//! - [`screens`]: the threads that track every session's screen: checkpoints, answers to queries.
//! - [`files`]: files put into a session's directory, and read there.
//! - [`integrate`]: the scripts by which shells tell of their commands.
//! - [`keys`]: the bytes that a terminal sends for a key.
//! - [`pending`]: one client's input on its way to the holder.
//! - [`log`]: the log.
//! - [`push`]: notifications that browsers show while no page is open.
//! - [`config`]: the settings.
//! - [`relay`]: streams between the machines of a fleet.
//! - [`attention`]: what a session's program is doing, and whether it needs somebody.
//! - [`screen`]: one terminal's emulator: output in, escape sequences that redraw it out.
//! - [`holder`]: the holder's loop, its messages, and the server's side of them.
//! - [`ring`]: a session's output in shared memory; [`pty`]: terminals and what they need.
//! - [`cgroup`]: the cgroups of sessions with limits.
//! - [`tree`]: the processes of a session, found and ended.
//! - [`private`]: checks that the state directory is closed to other users.
//! - [`metrics`]: the counters; [`trust`]: the certificates that this machine trusts.
//! - [`protocol`], [`lifecycle`], [`id`], [`text`]: shared types and rules.

pub mod attention;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connections;
pub mod events;
pub mod files;
pub mod fleet;
#[cfg(test)]
#[path = "../tests/fuzz/harness.rs"]
mod fuzz;
pub mod hooks;
pub mod http;
pub mod integrate;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod mcp;
pub mod metrics;
pub mod pending;
pub mod protocol;
pub mod push;
pub mod recorder;
pub mod registry;
pub mod relay;
pub mod rights;
pub mod screens;
pub mod server;
pub mod session;
pub mod store;
pub mod text;
pub mod trust;

pub use stayd_hold::{cgroup, holder, id, private, pty, ring, tree};
pub use stayd_screen as screen;
