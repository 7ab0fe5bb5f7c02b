//! What happens to the sessions, told to whoever listens: a bounded memory of the last
//! events, from which each listener pulls at its own place. Telling never waits, and a
//! listener that is too slow finds that its place is gone.

mod bus;
mod event;
mod id;

pub use bus::{Bus, Gone, Listener};
pub use event::{Event, Kind};
pub use id::EventId;
