//! The edge: routes, rights, errors.

pub mod problem;
