//! The server: starts everything in order, handles signals, and stops in order.
//!
//! - `serve`: [`run`], from the settings to the stop.
//! - `listen`: the TCP listeners. `state_dir`: its lock, and the address that is left there.
//! - `error`: [`ServeError`], why a server does not start.

mod error;
mod listen;
mod serve;
mod state_dir;

pub use error::ServeError;
pub use serve::run;
