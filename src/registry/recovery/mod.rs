//! Finds out which sessions there are, at the start and every 30 s, and acts on it.
//!
//! - `discover`: the database's rows and what the holder holds, paired.
//! - `sweep`: what cannot go on is ended, and its row says so.
//! - `compare`: registry, holder and rows compared, pure; `reconcile`: what differs, and how often.
//! - `apply`: what was found is done.

mod apply;
mod compare;
mod discover;
mod reconcile;
mod sweep;

pub(super) use apply::{reconcile, restore};
pub(super) use discover::{RestoreError, Sources, find, restarting};
pub(super) use reconcile::{EVERY, Reconciliation};
pub(super) use sweep::Sweeper;
