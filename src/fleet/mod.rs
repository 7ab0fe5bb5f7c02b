//! The fleet: this machine's place among others. Nothing of it runs without `[fleet]`, and nothing on this
//! machine waits for it.
//!
//! - `connect`: the connection to NATS. `bucket`: the directory there, and how its lines are written.
//! - `record`: what a machine says of itself. `heart`: says it, and so keeps the machine's name.
//! - `teller`: tells of this machine's sessions. `watcher`: reads what others tell, into `directory`,
//!   whose sessions are `listed`.
//! - `opening`: whom a stream is for. `handle`: [`Fleet`], for routes. `start`: all of it.

mod bucket;
mod connect;
mod directory;
#[cfg(test)]
#[path = "../../tests/fuzz/fleet.rs"]
mod fuzz;
mod handle;
mod heart;
mod listed;
mod opening;
mod record;
mod start;
mod teller;
mod watcher;

pub use connect::ConnectError;
pub use directory::{Directory, ShownNode, Wanted};
pub use handle::{Fleet, PlaceError, Reach};
pub use record::NodeRecord;
pub use start::{FleetParts, Started, start};
