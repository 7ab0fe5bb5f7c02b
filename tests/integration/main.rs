//! All tests that need the whole program, as one binary: real processes, real PTYs, a
//! real database.

mod support;

mod attach;
mod bad_input;
mod checkpoints;
mod cli;
mod dialects;
mod endings;
mod fidelity;
mod holder;
mod input;
mod restore;
mod sessions;
mod versions;
