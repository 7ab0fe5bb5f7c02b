//! The fleet: this machine's place among others. Nothing of it runs without `[fleet]`, and nothing on this
//! machine waits for it.
//!
//! - `connect`: the connection to NATS. `bucket`: the directory there, and how its lines are written.
//! - `record`: what a machine says of itself. `heart`: says it, and so keeps the machine's name.
//! - `teller`: tells of this machine's sessions, a `line` each. `watcher`: reads what others tell, within
//!   `limits`, into `directory`, whose sessions are `listed`, and ends links to what is gone. `shown`: what of it
//!   is asked for and shown.
//! - `needs`: what NATS has to allow a member. `check`: looks at all of it for `stayd doctor`, and at files with
//!   `secrets`. `health`: in words, `lacking`: those for permissions.
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
mod lacking;
mod limits;
mod line;
mod listed;
mod needs;
mod opening;
mod record;
mod secrets;
mod shown;
mod start;
mod teller;
mod watcher;

pub use check::check;
pub use connect::ConnectError;
pub use directory::Directory;
pub use handle::{Fleet, PlaceError, Reach};
pub use health::{Checked, Health};
pub use record::NodeRecord;
pub use shown::{ShownNode, Told, Wanted};
pub use start::{FleetParts, Started, start};
