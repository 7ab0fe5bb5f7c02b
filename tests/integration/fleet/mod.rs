//! The fleet: many machines through NATS.

mod cli;
mod doctor;
mod lanes;
mod logins;
mod machines;
mod metrics;
mod mistakes;
mod partition;
mod permissions;
mod servers;
mod shares;
mod told;
mod wrong;
