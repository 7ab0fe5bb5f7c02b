//! The server's side: finds or launches the holder, sends requests, receives notices.
//!
//! - `handle`: [`Holder`], one method a message. `connect`: finding the holder, or starting one.
//! - `link`: the connection, its requests and their replies.
//! - `preparation`: a start in two parts. `entry`: reads what the holder says of a session.
//! - `session`, `checkpoint`: descriptions of a session. `error`: what can go wrong.

mod checkpoint;
mod connect;
mod entry;
mod error;
#[cfg(test)]
#[path = "../../../../../tests/fuzz/checkpoints_read.rs"]
mod fuzz;
mod handle;
mod link;
mod preparation;
mod session;
mod upgrade;

pub use self::checkpoint::Checkpoint;
pub use self::error::{HolderError, SpawnError};
pub use self::handle::Holder;
pub use self::preparation::Preparation;
pub use self::session::{Held, Notice, Resumed, SpawnSpec, Unusable};
pub use self::upgrade::upgrade;
pub use super::wire::Stats;
