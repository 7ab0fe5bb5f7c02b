//! The registry: which sessions live, under which ids and names. It creates them, finds
//! them, restores them when the server starts and shuts them down. It never sees bytes.
//!
//! - [`Registry`]: the actor.
//! - `create`: what a request asks for, checked; `start`: its row, its process, its actor.
//! - `restart`: sessions that are started again; `again`: with what; `place`: who is where.
//! - `once`: what is asked for twice with the same key is made once.
//! - `find`: rows and holder paired; `restore`: what was found brought back to life.
//! - `compare`: registry, holder and rows compared; `reconcile`: what differs mended.
//! - `clock`: notices when the wall clock is set.

mod actor;
mod again;
mod clock;
mod compare;
mod create;
mod ended;
mod environment;
mod find;
mod once;
mod place;
mod reconcile;
mod rename;
mod requests;
mod restart;
mod restore;
mod retention;
mod start;

pub use actor::{Parts, Registry};
pub use create::{CreateError, Defaults};
pub(crate) use create::{directory, home};
pub use requests::{
    Abandon, Answered, Census, Counted, Create, EndAll, Find, FindEnded, FindError, FindOrCreate,
    FoundOrCreated, Key, List, Mended, Ready, Reconcile, Rename, RenameError, Repairs, Restart,
    RestartError, SessionRef, ShutdownAll, StayEnded,
};
