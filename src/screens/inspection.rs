//! The result of an inspection of a screen.

use crate::ring::Reader;
use crate::screen::Snapshot;

/// The value read from a screen, and the point of the output at which it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection<T> {
    /// Bytes of output that the screen had applied.
    pub offset: u64,
    /// Resizes that the screen had applied.
    pub resizes: u64,
    /// The value that the caller's closure returned.
    pub seen: T,
}

impl Inspection<Snapshot> {
    /// Cuts the snapshot behind its last whole character, and sets the offset there. A client
    /// writes a snapshot at once, and its terminal may lose a character whose rest arrives later.
    /// Only if the terminal was resized inside that character does the snapshot keep its first
    /// bytes.
    #[must_use]
    pub fn whole(mut self, ring: &Reader) -> Self {
        let start = self.offset.saturating_sub(self.seen.partial as u64);
        if ring.resizes_since(0).last().is_none_or(|resize| resize.offset <= start) {
            let length = self.seen.bytes.len() - self.seen.partial;
            self.seen.bytes.truncate(length);
            (self.seen.partial, self.offset) = (0, start);
        }
        self
    }
}
