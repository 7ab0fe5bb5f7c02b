//! All of the holder's state, in memory that outlives it.
//!
//! A holder may be killed at any instruction, and the next one rebuilds itself from here. So every
//! change is one of these:
//!
//! - a single word: the state before it and the state after it are both whole;
//! - a spare copy that one word makes the valid one (blobs, checkpoints, whole sessions);
//! - several words that belong together, as a commit ([`journal`]): whoever finds an unfinished one
//!   finishes it;
//! - a read or write that the kernel has done and the holder has not yet noted ([`account`]): an
//!   intent says what it was about, and the kernel's count of bytes says whether it was done.
//!
//! The kernel stores what one process has stored before its death in the order of its program, so
//! only the compiler must keep that order: every store here is a release.
//!
//! Descriptors are recorded by number ([`kept`]): guardian and holder share one table of
//! descriptors (`CLONE_FILES`), so that each has what the other has opened, at the same instant.
//! One that is not recorded is of no use to a successor, and is closed ([`kept::sweep`]).
//!
//! - `layout`: the words. `map`: the memory. `slot`, `queue`: what is kept of one session.

pub(super) mod account;
pub(super) mod journal;
pub(super) mod kept;
mod layout;
mod map;
mod queue;
mod slot;
#[cfg(test)]
mod tests;

pub(super) use kept::Kept;
pub(super) use layout::{StatsWords, VERSION as LAYOUT};
pub(super) use map::SharedState;
pub(super) use queue::Queue;
pub(super) use slot::{Created, Progress, Slot};
