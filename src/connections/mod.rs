//! TCP connections below HTTP: which are let in, which have to go when there are too many,
//! and how long an answer may stay unread.
//!
//! - `table`: the connections that are open, and the rules. `socket`: one connection's stream
//!   and its place in the table. `listen`: the listeners, and HTTP on what they accept.

mod listen;
mod socket;
mod table;

pub use listen::serve;
pub use socket::Visitor;
pub use table::{Connections, Limits, subscriber};
