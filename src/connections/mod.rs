//! Connections below HTTP: which are let in, which have to go when there are too many, and how
//! long an answer may stay unread; TLS; the unix socket.
//!
//! - `table`: the connections that are open, and the rules. `stream`: plain TCP, TLS or a unix
//!   stream. `socket`: one connection's stream and its place in the table. `listen`: the
//!   listeners, and HTTP on what they accept.
//! - `tls`: the certificate. `handshake`: what comes before HTTP on a connection with TLS.
//!   `exposure`: addresses that are not to be listened on without it.
//! - `local`: the unix socket, and who connects to it.

mod exposure;
mod handshake;
mod listen;
pub mod local;
mod socket;
mod stream;
mod table;
mod tls;

pub use exposure::{Exposed, check_plain};
pub use listen::{Listeners, Relayed, RelayedListener, Serving, serve};
pub use socket::{HangUp, Peer, Visitor};
pub use table::{Connections, Limits, TooManyConnections, subscriber};
pub use tls::{Tls, TlsError};
