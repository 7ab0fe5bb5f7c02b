//! The fleet: this machine's place among others. Nothing of it runs without `[fleet]`, and nothing on this
//! machine waits for it.
//!
//! - `connect`: the connection to NATS. `bucket`: the directory there, and how its lines are written.
//! - `record`: what a machine says of itself. `heart`: says it, and so keeps the machine's name.
//! - `teller`: tells of this machine's sessions. `watcher`: reads what others tell, into `directory`,
//!   whose sessions are `listed`, and ends links to what is gone.
//! - `needs`: what NATS has to allow a member. `check`: looks at all of it for `stayd doctor`, `health`:
//!   in words.
//! - `opening`: whom a stream is for. `handle`: [`Fleet`], for routes. `start`: all of it.

mod bucket;
mod check;
mod connect;
mod directory;
#[cfg(test)]
#[path = "../../tests/fuzz/fleet.rs"]
mod fuzz;
mod handle;
mod health;
mod heart;
mod listed;
mod needs;
mod opening;
mod record;
mod start;
mod teller;
mod watcher;

pub use check::check;
pub use connect::ConnectError;
pub use directory::{Directory, ShownNode, Wanted};
pub use handle::{Fleet, PlaceError, Reach};
pub use health::{Checked, Health};
pub use record::NodeRecord;
pub use start::{FleetParts, Started, start};
