//! The fleet: many machines through NATS.

mod cli;
mod doctor;
mod machines;
mod metrics;
mod partition;
mod permissions;
mod servers;
mod shares;
mod wrong;
