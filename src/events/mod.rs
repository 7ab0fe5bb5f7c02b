//! The events of the sessions. The last events are kept in memory, up to a limit, and each listener
//! pulls them from its own position. Publishing never waits; a listener that is too slow finds that
//! its position is gone.

mod bus;
mod event;
mod id;

pub use bus::{Bus, Gone, Listener};
pub use event::{Event, Kind};
pub use id::EventId;
