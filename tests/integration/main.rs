//! All tests that need the whole program, as one binary: real processes, real PTYs, a
//! real database.

mod support;

mod attach;
mod bad_input;
mod cli;
mod clock;
mod dialects;
mod endings;
mod holder;
mod input;
mod reconcile;
mod restore;
mod sessions;
mod startup;
mod store_faults;
mod store_kills;
