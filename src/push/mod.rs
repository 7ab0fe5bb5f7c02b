//! Web push: notifications that browsers show while no page of ours is open.
//!
//! A browser names an address at its vendor's push service, and a key. What is sent there is encrypted
//! for that key (RFC 8291), so that the service learns when something is told and not what, and signed
//! with the server's own key (RFC 8292), which the browser was given when it subscribed: nobody else who
//! learns the address can use it.
//!
//! - `subscriber`: [`Subscriber`], the address and the keys of one browser
//! - `vapid`: the server's key pair, which is made at its first use
//! - `message`: what is told
//! - `sender`: [`Push`], which sends it once; `hooks` says when, to whom, and how often

mod message;
mod sender;
mod subscriber;
mod vapid;

pub use message::message;
pub use sender::{Headers, Push, Sent};
pub use subscriber::Subscriber;
