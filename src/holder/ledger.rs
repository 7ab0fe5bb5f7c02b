//! x
/// x
pub const QUEUE: usize = 64 << 10;
