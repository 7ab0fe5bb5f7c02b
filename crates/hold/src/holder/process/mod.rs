//! `stayd hold`: one thread, one epoll loop, boring on purpose.
//!
//! Nothing here waits for anybody: a full terminal, a full socket and a hung directory are
//! each a state that an event ends. Output is read straight into the ring, without an
//! allocation or a copy. What a peer sends is checked; nothing of it can end the process.

mod birth;
mod checkpoint;
mod ending;
mod peer;
mod reap;
mod requests;
mod run;
mod session;
mod start;
mod sys;
mod table;
mod token;

pub use start::main;
