//! The fleet: many machines through NATS.

mod cli;
mod permissions;
mod servers;
