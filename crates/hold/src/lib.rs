//! Processes that outlive the server that starts them: the holder, which owns their terminals, and
//! the handle to it.
//!
//! A server requests sessions from the holder over a socket and reads their output from shared
//! memory. When the server dies, the sessions run on, and the next server adopts them. This crate
//! has no HTTP, no database and no screen: it does not interpret the output.
//!
//! The modules; arrows point down only:
//!
//! - [`holder`]: the holder's loop, its messages, and the server's side of them.
//! - [`ring`]: a session's output in shared memory; [`pty`]: terminals and the calls that they
//!   need.
//! - [`cgroup`]: the cgroups of sessions with limits.
//! - [`tree`]: finds and ends the processes of a session.
//! - [`private`]: checks that the state directory and its files are closed to other users.
//! - [`id`]: identifiers of sessions and clients; [`Exit`]: how a process ended.
//!
//! Output goes through a ring, which one process writes and another one reads:
//!
//! ```
//! use stayd_hold::ring::{CAPACITY_MIN, Reader, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (descriptor, mut writer) = Writer::create(CAPACITY_MIN, 0)?;
//! writer.buffer(5).copy_from_slice(b"hello");
//! writer.publish(5);
//!
//! let reader = Reader::open(descriptor)?; // In another process, as a rule.
//! let mut output = bytes::BytesMut::new();
//! assert_eq!(reader.read(0, usize::MAX, &mut output)?, 5);
//! assert_eq!(&output[..], b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! A server finds the holder of a state directory, or starts one:
//!
//! ```no_run
//! use stayd_hold::holder::{Confinement, Holder, Paths, SpawnSpec};
//! use stayd_hold::id::SessionId;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let log = slog::Logger::root(slog::Discard, slog::o!());
//! let (holder, notices) = Holder::connect_or_launch(&Paths::new("/run/me/state"), &log).await?;
//! for session in holder.adopt().await? {
//!     println!("{} has printed {} bytes", session.id, session.ring.head());
//! }
//! let shell = SpawnSpec {
//!     command: vec!["bash".to_owned()],
//!     login: false,
//!     cwd: "/".to_owned(),
//!     env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
//!     cols: 80,
//!     rows: 24,
//!     checkpoints: false,
//!     resumed: None,
//!     confinement: Confinement::default(),
//! };
//! let session = holder.spawn(SessionId::generate(), &shell, 2 << 20, b"").await?;
//! # drop((notices, session));
//! # Ok(())
//! # }
//! ```
//!
//! The whole crate denies code that may panic, since the holder must not: see [`holder`].

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod cgroup;
mod exit;
#[cfg(test)]
#[path = "../../../tests/fuzz/harness.rs"]
mod fuzz;
pub mod holder;
pub mod id;
pub mod private;
pub mod pty;
pub mod ring;
pub mod tree;

pub use exit::Exit;
