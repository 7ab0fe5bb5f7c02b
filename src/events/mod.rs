//! The events of the sessions: a bounded memory of the last events, from which each listener pulls
//! at its own position. Publishing never waits; a listener that is too slow finds that its position
//! is gone.

mod bus;
mod event;
mod id;

pub use bus::{Bus, Gone, Listener};
pub use event::{Event, Kind};
pub use id::EventId;
