//! The fleet: many machines through NATS.

mod permissions;
mod servers;
