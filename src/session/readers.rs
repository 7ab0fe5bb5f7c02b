//! From where output is still read: what clients and slow answers lack is not discarded, nor is for some
//! minutes what a client lacks whose connection has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The output that a client lacks waits so long for it to come back, as long as the ring is not written over
/// it.
const COMES_BACK: Duration = Duration::from_secs(300);

/// Clients that leave within this time leave one place, so that there are few of them.
const TOGETHER: Duration = Duration::from_secs(10);

/// The readers of one session's output.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    reading: Vec<Arc<Reader>>,
    left: Vec<Place>,
}

#[derive(Debug)]
struct Reader {
    offset: AtomicU64,
    comes_back: bool,
}

/// The offsets at which clients may go on that come back, from the first to the last.
#[derive(Debug)]
struct Place {
    since: Instant,
    until: Instant,
    first: u64,
    last: u64,
}

/// One reader. It is counted until this is dropped.
#[derive(Debug)]
pub struct ReadFrom(Arc<Reader>);

impl Readers {
    /// Counts a reader that needs the output from `offset` on. When it goes, the place of one that
    /// `comes_back` is kept.
    pub(super) fn begin(&self, offset: u64, comes_back: bool, now: Instant) -> ReadFrom {
        let reader = Arc::new(Reader { offset: AtomicU64::new(offset), comes_back });
        let mut known = self.lock();
        known.notice(now);
        known.reading.push(reader.clone());
        ReadFrom(reader)
    }

    /// Keeps the places of those who were there before this server, which may be any from `oldest` to `head`.
    pub(super) fn were_within(&self, oldest: u64, head: u64, now: Instant) {
        self.lock().leave(oldest, head, now);
    }

    /// The first offset that a reader needs; `u64::MAX` if there is none. `oldest` is the first that the
    /// output still has.
    pub(super) fn first(&self, oldest: u64, now: Instant) -> u64 {
        let mut known = self.lock();
        known.notice(now);
        // Nobody can go on at what the ring was written over.
        known.left.retain(|place| place.until > now && place.last >= oldest);
        let left = known.left.iter().map(|place| place.first.max(oldest));
        let reading = known.reading.iter().map(|reader| reader.offset.load(Ordering::SeqCst));
        reading.chain(left).min().unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes out the readers that are gone, and keeps their places.
    fn notice(&mut self, now: Instant) {
        let is_gone = |reader: &mut Arc<Reader>| Arc::strong_count(reader) == 1;
        let gone: Vec<_> = self.reading.extract_if(.., is_gone).collect();
        for reader in gone.iter().filter(|reader| reader.comes_back) {
            let offset = reader.offset.load(Ordering::SeqCst);
            self.leave(offset, offset, now);
        }
    }

    fn leave(&mut self, first: u64, last: u64, now: Instant) {
        let until = now + COMES_BACK;
        match self.left.last_mut() {
            Some(place) if now.saturating_duration_since(place.since) < TOGETHER => {
                let (first, last) = (first.min(place.first), last.max(place.last));
                *place = Place { since: place.since, until, first, last };
            }
            _ => self.left.push(Place { since: now, until, first, last }),
        }
    }
}

impl ReadFrom {
    /// Everything before `offset` is no longer needed.
    pub fn advance(&self, offset: u64) {
        self.0.offset.fetch_max(offset, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u64 = u64::MAX;

    #[test]
    fn the_slowest_reader_counts_until_it_goes() {
        let (readers, now) = (Readers::default(), Instant::now());
        assert_eq!(readers.first(0, now), NONE);
        let (slow, fast) = (readers.begin(3, false, now), readers.begin(9, false, now));
        slow.advance(5);
        slow.advance(4);
        assert_eq!(readers.first(0, now), 5);
        drop(slow);
        assert_eq!(readers.first(0, now), 9);
        fast.advance(NONE);
        assert_eq!(readers.first(0, now), NONE);
    }

    #[test]
    fn the_place_of_one_that_comes_back_is_kept_for_some_minutes() {
        let (readers, start) = (Readers::default(), Instant::now());
        let client = readers.begin(3, true, start);
        client.advance(7);
        drop(client);
        assert_eq!(readers.first(0, start), 7);
        assert_eq!(readers.first(7, start + COMES_BACK - Duration::from_millis(1)), 7);
        assert_eq!(readers.first(7, start + COMES_BACK), NONE);
        readers.were_within(7, 9, start);
        assert_eq!(readers.first(5, start), 7);
        assert_eq!(readers.first(8, start), 8, "the ring was written over a part of it");
        assert_eq!(readers.first(10, start), NONE, "the ring was written over it");
    }

    #[test]
    fn whoever_comes_and_goes_leaves_few_places() {
        let (readers, start) = (Readers::default(), Instant::now());
        for second in 0..3600 {
            let now = start + Duration::from_millis(second * 500);
            drop(readers.begin(second, true, now));
        }
        let end = start + Duration::from_secs(1800);
        let first = readers.first(0, end);
        assert!((2980..=3001).contains(&first), "{first}: of five minutes, or 10 s more");
        assert!(readers.lock().left.len() <= 31);
        readers.were_within(5, 9, end + TOGETHER);
        let later = end + TOGETHER;
        assert_eq!(readers.first(0, later), 5);
        assert!(readers.first(10, later) > 2980, "the others' places are theirs still");
    }
}
