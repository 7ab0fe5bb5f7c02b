//! The errors of a ring.

use super::layout::{CAPACITY_MAX, CAPACITY_MIN};

/// Why a ring cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Not a power of two between [`CAPACITY_MIN`] and [`CAPACITY_MAX`].
    #[error("ring capacity {0} is not a power of two between {CAPACITY_MIN} and {CAPACITY_MAX}")]
    Capacity(u64),
    /// The descriptor is no ring of ours: seals, size, magic or version are wrong.
    #[error("not a ring: {0}")]
    Foreign(&'static str),
    /// The kernel refused.
    #[error("ring: {0}")]
    Os(#[from] nix::errno::Errno),
}
