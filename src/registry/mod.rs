//! The registry: which sessions live, under which ids and names. It creates them, finds
//! them, restores them when the server starts and shuts them down. It never sees bytes.
//!
//! - [`Registry`]: the actor.
//! - `create`: what a request asks for, checked; `start`: its row, its process, its actor.
//! - `restart`: sessions that are started again; `restart_plan`: with what; `lookup`: who is where.
//! - `idempotency`: what is asked for twice with the same key is made once.
//! - `discover`: rows and holder paired; `restore`: what was found brought back to life.
//! - `compare`: registry, holder and rows compared; `reconcile`: what differs mended.
//! - `clock`: notices when the wall clock is set.

mod actor;
mod clock;
mod compare;
mod create;
mod discover;
mod ended;
mod environment;
mod idempotency;
mod lookup;
mod reconcile;
mod rename;
mod requests;
mod restart;
mod restart_plan;
mod restore;
mod retention;
mod start;

pub use actor::{Parts, Registry};
pub use create::{CreateError, Defaults};
pub(crate) use create::{directory, home};
pub use requests::{
    Abandon, Answered, CancelRestart, CountSessions, Counted, Create, Find, FindEnded, FindError,
    FindOrCreate, FoundOrCreated, Key, KillAll, List, Mended, Ready, Reconcile, Rename,
    RenameError, Repairs, Restart, RestartError, SessionRef, ShutdownAll,
};
