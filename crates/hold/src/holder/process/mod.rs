//! `stayd hold`: one thread, one epoll loop, boring on purpose.
//!
//! Nothing here waits: a full terminal, a full socket and a hung directory are each a state that an
//! event ends. Output is read straight into the ring, without an allocation or a copy. Every
//! message of a peer is checked; none of them can end the process.
//!
//! - `event_loop`: the loop and its connections; it owns everything that follows.
//! - `requests`: performs the server's requests; `tell`: sends its notices.
//! - `sessions`: the held sessions and the work that is due; `table` finds them, `spawn` starts
//!   them.
//! - `session`: one terminal, its ring and its input; `stage`, `checkpoint`: parts of it.
//! - `peer`: one connection. `shutdown`: how everything ends. `start`: the setup before the loop.
//! - `stand_in`: waits for another holder's end, under a service manager.
//! - `token`: the subjects of events. `sys`: system calls that nix has no names for.

mod checkpoint;
mod event_loop;
#[cfg(test)]
#[path = "../../../../../tests/fuzz/checkpoints_kept.rs"]
mod fuzz;
mod guardian;
mod peer;
mod pid_file;
mod reaping;
mod recovery;
mod requests;
mod session;
mod sessions;
mod shutdown;
mod spawn;
mod stage;
mod stand_in;
mod start;
mod sys;
mod table;
mod tell;
mod token;
mod upgrade;

pub use start::{continue_main, main};
