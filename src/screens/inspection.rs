//! What an inspection of a screen returns.

use crate::ring::Reader;
use crate::screen::Snapshot;

/// What was read from a screen, and at which point of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection<T> {
    /// Bytes of output that the screen had applied.
    pub offset: u64,
    /// Resizes that the screen had applied.
    pub resizes: u64,
    /// What the caller's closure read from the screen.
    pub seen: T,
}

impl Inspection<Snapshot> {
    /// The snapshot up to the last whole character, with the offset there. A client writes it
    /// at once, and a terminal may lose a character whose rest arrives later. Only where the
    /// terminal was resized inside that character does the snapshot keep its first bytes.
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
