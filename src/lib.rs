//! stayd: a supervisor for terminal sessions.

pub mod cli;
pub mod config;
pub mod holder;
pub mod http;
pub mod id;
pub mod lifecycle;
pub mod log;
pub mod protocol;
pub mod pty;
pub mod registry;
pub mod ring;
pub mod server;
pub mod session;
pub mod store;
pub mod tree;
