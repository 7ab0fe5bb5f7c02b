//! Stores that belong together: all of them are written down first, so that whoever finds some of
//! them undone does them all again.

use super::kept;
use super::layout::{STORES, StoreWords};
use super::map::SharedState;
use crate::ring::{RingError, Writer};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// In a place: it is a word of the session's ring.
const RING: u64 = 1 << 63;

/// Stores to be committed.
#[derive(Debug, Default)]
pub(in crate::holder) struct Stores {
    count: usize,
    stores: [(u64, u64); STORES],
}

impl Stores {
    /// Adds a store to a word of the shared state.
    pub(in crate::holder) fn word(&mut self, shared: &SharedState, word: &AtomicU64, value: u64) {
        self.push(shared.place(word) as u64, value);
    }

    /// Adds a store to a word of the session's ring.
    pub(in crate::holder) fn ring(&mut self, word: usize, value: u64) {
        self.push(word as u64 | RING, value);
    }

    fn push(&mut self, place: u64, value: u64) {
        if let Some(store) = self.stores.get_mut(self.count) {
            *store = (place, value);
            self.count = self.count.saturating_add(1);
        }
    }
}

/// Does all of the stores, in their order, even if this process dies meanwhile.
pub(in crate::holder) fn commit(
    shared: &SharedState,
    slot: u32,
    ring: Option<&Writer>,
    stores: &Stores,
) {
    let words = &shared.header().journal;
    let stores = stores.stores.get(..stores.count).unwrap_or_default();
    for (entry, (place, value)) in words.stores.iter().zip(stores) {
        entry.place.store(*place, Relaxed);
        entry.value.store(*value, Relaxed);
    }
    words.slot.store(u64::from(slot), Relaxed);
    words.count.store(stores.len() as u64, Release);
    for (place, value) in stores {
        store(shared, ring, *place, *value);
    }
    words.count.store(0, Release);
}

/// Does the stores of a commit that its process did not live to finish.
pub(in crate::holder) fn redo(shared: &SharedState) -> Result<(), RingError> {
    let words = &shared.header().journal;
    let count = usize::try_from(words.count.load(Relaxed)).unwrap_or(0);
    let stores = words.stores.get(..count).unwrap_or_default();
    let loaded = |entry: &StoreWords| (entry.place.load(Relaxed), entry.value.load(Relaxed));
    let ring = if stores.iter().any(|entry| loaded(entry).0 & RING != 0) {
        let slot = shared.page(u32::try_from(words.slot.load(Relaxed)).unwrap_or(u32::MAX));
        let fd = slot.and_then(|slot| kept::borrow(&slot.fds.ring));
        Some(Writer::reopen(fd.ok_or(RingError::Foreign("no descriptor"))?)?)
    } else {
        None
    };
    for (place, value) in stores.iter().map(loaded) {
        store(shared, ring.as_ref(), place, value);
    }
    words.count.store(0, Release);
    Ok(())
}

fn store(shared: &SharedState, ring: Option<&Writer>, place: u64, value: u64) {
    let word = usize::try_from(place & !RING).unwrap_or(usize::MAX);
    if place & RING == 0 {
        if let Some(word) = shared.word(word) {
            word.store(value, Release);
        }
    } else if let Some(ring) = ring {
        ring.store(word, value);
    }
}
