//! The registry: which sessions live, under which ids and names. It creates them, finds
//! them, restores them when the server starts and shuts them down. It never sees bytes.
//!
//! - [`Registry`]: the actor.
//! - `create`: what a request asks for, checked and made into something to spawn.
//! - `restore`: rows, holder and processes brought together at start-up.
//! - [`Blob`]: what the holder keeps of a session for a server that finds no row.

mod actor;
mod blob;
mod create;
mod environment;
mod restore;

pub use actor::{
    Create, Find, FindError, FindOrCreate, Key, List, Ready, Registry, Rename, SessionRef,
    ShutdownAll, Unread,
};
pub use blob::Blob;
pub use create::{CreateError, Defaults};
