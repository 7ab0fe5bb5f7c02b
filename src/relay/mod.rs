//! Streams of bytes between the machines of a fleet, over NATS: an edge opens one to a node for each request
//! of its clients, and both ends are then as of a connection.
//!
//! - `subject`: where messages go, and names. `wire`: the messages. `flow`: what one end knows.
//! - `counters`: what is counted. `sayings`: messages beside the bytes. `stream`: one end. `table`: which are
//!   open, and who is at their other ends. `hub`: all streams of a connection. `lanes`: all of a machine.
//!
//! What is lost is noticed and ends the stream, and nothing is repaired: messages are numbered, what is
//! not confirmed is asked for, and a machine that is silent or was started anew has lost its streams.

mod counters;
mod flow;
#[cfg(test)]
#[path = "../../tests/fuzz/relay.rs"]
mod fuzz;
mod hub;
mod lanes;
mod sayings;
mod stream;
mod subject;
mod table;
mod wire;

pub use counters::RelayCounters;
pub use hub::{Arrival, Identity, OpenError};
pub use lanes::{Connect, Lanes};
pub use stream::{RelayStream, Revoker};
pub use subject::{NodeName, NotAName};
