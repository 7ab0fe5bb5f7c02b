//! The fleet: many machines through NATS.

mod cli;
mod machines;
mod permissions;
mod servers;
mod shares;
