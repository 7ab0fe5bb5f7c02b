//! `stayd hold`: one thread, one epoll loop, boring on purpose.
//!
//! Nothing here waits for anybody: a full terminal, a full socket and a hung directory are
//! each a state that an event ends. Output is read straight into the ring, without an
//! allocation or a copy. What a peer sends is checked; nothing of it can end the process.
//!
//! - `event_loop`: the loop and its connections; it owns everything that follows.
//! - `requests`: what the server asks for, done with all of it; `tell`: what it is told.
//! - `sessions`: what is held and what is due; `table` finds it, `spawn` makes one of it.
//! - `session`: one terminal, its ring and its input; `stage`, `checkpoint`: parts of it.
//! - `peer`: one connection. `ending`: how everything ends. `start`: before the loop.
//! - `token`: what events are about. `sys`: what nix has no words for.

mod checkpoint;
mod ending;
mod event_loop;
mod peer;
mod requests;
mod session;
mod sessions;
mod spawn;
mod stage;
mod start;
mod sys;
mod table;
mod tell;
mod token;

pub use start::main;
