//! From where output is still read: what clients and slow answers lack is not discarded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The readers of one session's output.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Vec<Weak<AtomicU64>>>);

/// One reader. It is counted until this is dropped.
#[derive(Debug)]
pub struct ReadFrom(Arc<AtomicU64>);

impl Readers {
    /// Counts a reader that needs the output from `offset` on.
    pub(super) fn begin(&self, offset: u64) -> ReadFrom {
        let reader = Arc::new(AtomicU64::new(offset));
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&reader));
        ReadFrom(reader)
    }

    /// The first offset that a reader needs; `u64::MAX` if there is none.
    pub(super) fn first(&self) -> u64 {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = readers.iter().filter_map(Weak::upgrade);
        offsets.map(|reader| reader.load(Ordering::SeqCst)).min().unwrap_or(u64::MAX)
    }
}

impl ReadFrom {
    /// Everything before `offset` is no longer needed.
    pub fn advance(&self, offset: u64) {
        self.0.fetch_max(offset, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_reader_counts_until_it_goes() {
        let readers = Readers::default();
        assert_eq!(readers.first(), u64::MAX);
        let (slow, fast) = (readers.begin(3), readers.begin(9));
        slow.advance(5);
        slow.advance(4);
        assert_eq!(readers.first(), 5);
        drop(slow);
        assert_eq!(readers.first(), 9);
        fast.advance(u64::MAX);
        assert_eq!(readers.first(), u64::MAX);
    }
}
