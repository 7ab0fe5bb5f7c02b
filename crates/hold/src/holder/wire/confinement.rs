//! The account, the limits and the cgroup of a session, as its specification carries them.
//!
//! A field that the shim does not know is refused, because a session with less confinement than was
//! asked for must not start.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a session may not do. By default it has everything that the holder has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// The account that the program runs under; `None` is the holder's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// Limits of each process.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The directory of the cgroup (v2) that the session's processes are in. It exists, and has its
    /// limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
}

impl Confinement {
    /// Whether nothing is confined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Confinement::default()
    }
}

/// An account, as the password database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name, by which its supplementary groups are found.
    pub name: String,
    /// Its id.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The group that may write to its terminal (`tty`), if the machine has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<u32>,
}

/// Limits of each process (setrlimit(2)), soft and hard alike; `None` leaves the holder's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// Processes of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u64>,
    /// Address space, in bytes.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub address_space: Option<u64>,
    /// Core files, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}
