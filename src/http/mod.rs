//! The edge: routes, rights, errors.

pub mod assets;
pub mod auth;
pub mod guard;
mod hosts;
pub mod login;
mod logins;
pub mod problem;
#[cfg(test)]
mod tests;

pub use hosts::{Hosts, HostsError};
pub use logins::Logins;
