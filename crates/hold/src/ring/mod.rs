//! A session's output in shared memory: the holder appends, the server reads.
//!
//! One sealed memfd a session:
//!
//! ```text
//!  page 0            page 1            capacity bytes      the same bytes again
//! ┌────────────────┬─────────────────┬───────────────────┬───────────────────┐
//! │ holder's words │ server's words  │ output            │ (mapped twice)    │
//! └────────────────┴─────────────────┴───────────────────┴───────────────────┘
//! ```
//!
//! Offsets count bytes of output since the session's beginning and never wrap. A [`Reader`] copies
//! first and validates afterwards, so that a reader which was overtaken gets an error instead of
//! mixed bytes. Wake-ups are requested by offset ([`Reader::request_wake`]), and the holder checks
//! for a request after each publication, with a `SeqCst` fence between its store and its load on
//! either side, so that none is lost. The holder frees the pages of output that the server lets it
//! discard; readers find its offset gone, as if it had been overwritten.

#![allow(unsafe_code)]

mod error;
mod layout;
mod map;
mod reader;
mod writer;

pub use error::RingError;
pub use layout::{CAPACITY_DEFAULT, CAPACITY_MAX, CAPACITY_MIN, IN_FLIGHT};
pub use reader::{Input, Overtaken, Reader, Resize};
pub use writer::{Due, InputProgress, READ_MAX, Writer};

#[cfg(test)]
mod tests;
