//! The registry: which sessions live, under which ids and names. It creates them, finds
//! them, restores them when the server starts and shuts them down. It never sees bytes.
//!
//! From top to bottom:
//!
//! - `actor`: what happens when it starts, and the answer to each message.
//! - `creation`, `rename`, `afterlife` (kept, forgotten, started again), `recovery` (what holder
//!   and database say at the start, compared and applied; reconciliation): what takes several
//!   steps, as functions over the state.
//! - `table`: [`Registry`], the state. Its parts are pure: `names`, `restarts`, `idempotency`
//!   (what is asked for twice is made once), `transit` (sessions between two states), `ended`
//!   (whose output is still kept).
//! - `roster`: the live sessions, for those who cannot wait for an answer.
//! - `confine`: the account and the cgroup that a profile asks for.
//! - `launch`: the row written, the process spawned. `restart_plan`: with what an ended session
//!   is started again. `create`: a request checked; `environment`.
//! - `retention`: removes what has been kept for long enough. `clock`: notices when the wall clock
//!   is set.

mod actor;
mod afterlife;
mod clock;
mod confine;
mod create;
mod creation;
mod ended;
mod environment;
mod idempotency;
mod launch;
mod names;
mod recovery;
mod rename;
mod requests;
mod restart_plan;
mod restarts;
mod retention;
mod roster;
mod table;
mod transit;

pub use create::{CreateError, Defaults};
pub(crate) use create::{directory, home};
pub(crate) use environment::plain_environment;
pub use requests::{
    Abandon, Answered, CancelRestart, CountSessions, Counted, Create, Find, FindEnded, FindError,
    FindOrCreate, FoundOrCreated, Key, KillAll, List, Mended, Ready, Reconcile, Rename,
    RenameError, Repairs, Restart, RestartError, SessionRef, ShutdownAll,
};
pub use roster::Roster;
pub use table::{Parts, Registry};
