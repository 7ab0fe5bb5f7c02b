//! The fleet: many machines through NATS.

mod cli;
mod machines;
mod partition;
mod permissions;
mod servers;
