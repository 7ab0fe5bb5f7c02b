//! Sessions that have ended, whose output is kept for a while for those who come late: a
//! program may end before the client that started it has attached, or while one connects
//! again. The holder keeps the ring as long, so that a killed server loses nothing of it.
//!
//! A session comes here as soon as its record is written, and may go once nothing is left to
//! be completed (its recording, its last screen). Pure but for the clock that is given.

use crate::id::SessionId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time for which the output of an ended session is kept: a person who starts a session and
/// looks at its output by hand needs a minute or two.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// The most sessions whose output is kept. Each costs some ten KiB in the server and a ring in the
/// holder, of which only the pages count that were written.
const SESSIONS_MAX: usize = 512;
/// The most bytes that their rings hold together.
const BYTES_MAX: u64 = 64 << 20;

/// Ended sessions; `T` is what reads one.
#[derive(Debug)]
pub(super) struct Ended<T> {
    entries: HashMap<SessionId, Entry<T>>,
    kept_for: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    session: T,
    since: Instant,
    bytes: u64,
    /// Whether its output can be read.
    kept: bool,
    /// Whether nothing is left to be completed.
    complete: bool,
    /// Whether the holder still has it.
    held: bool,
}

/// A session that is not kept any longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone<T> {
    pub(super) id: SessionId,
    pub(super) session: T,
    /// The holder is to forget it.
    pub(super) held: bool,
}

impl<T> Ended<T> {
    /// `retention`: for how long ended sessions are known at all.
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let kept_for = retention.map_or(KEPT_FOR, |retention| retention.min(KEPT_FOR));
        Ended { entries: HashMap::new(), kept_for }
    }

    /// Keeps a session that ended at `since`; `bytes` of its ring are in use. Returns one that
    /// had the same id: the life before this one.
    pub(super) fn insert(
        &mut self,
        id: SessionId,
        session: T,
        since: Instant,
        bytes: u64,
    ) -> Option<T> {
        let entry = Entry { session, since, bytes, kept: true, complete: false, held: true };
        self.entries.insert(id, entry).map(|before| before.session)
    }

    /// A session whose output can still be read.
    pub(super) fn get(&self, id: SessionId) -> Option<&T> {
        self.entries.get(&id).filter(|entry| entry.kept).map(|entry| &entry.session)
    }

    /// The sessions that the holder still has.
    pub(super) fn held(&self) -> impl Iterator<Item = SessionId> {
        self.entries.iter().filter(|(_, entry)| entry.held).map(|(id, _)| *id)
    }

    /// Whether the holder still has this session, which then cannot be started again.
    pub(super) fn is_held(&self, id: SessionId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.held)
    }

    /// Notes that nothing of a session is left to be completed.
    pub(super) fn complete(&mut self, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.complete = true;
        }
    }

    /// Releases a session from the holder; its output can still be read here. Returns true if the
    /// holder is to forget it now, false if that was said before or something must be completed
    /// first.
    pub(super) fn release(&mut self, id: SessionId) -> bool {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.complete);
        entry.is_some_and(|entry| std::mem::take(&mut entry.held))
    }

    /// Makes the output of a session unreadable.
    pub(super) fn drop_output(&mut self, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.kept = false;
        }
    }

    /// Takes out what is too old or too much, the oldest first, as far as it is complete.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Gone<T>> {
        for entry in self.entries.values_mut() {
            entry.kept &= now.saturating_duration_since(entry.since) < self.kept_for;
        }
        let kept = self.entries.iter().filter(|(_, entry)| entry.kept);
        let mut kept: Vec<_> = kept.map(|(id, entry)| (entry.since, *id, entry.bytes)).collect();
        kept.sort_unstable();
        let (mut count, mut bytes) =
            (kept.len(), kept.iter().map(|(.., bytes)| bytes).sum::<u64>());
        for (_, id, of_it) in kept {
            // The newest session is kept, however large its output is.
            if count <= 1 || count <= SESSIONS_MAX && bytes <= BYTES_MAX {
                break;
            }
            (count, bytes) = (count - 1, bytes - of_it);
            self.drop_output(id);
        }
        let over = self.entries.extract_if(|_, entry| entry.complete && !entry.kept);
        over.map(|(id, Entry { session, held, .. })| Gone { id, session, held }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(gone: Vec<Gone<u32>>) -> Vec<u32> {
        let mut all: Vec<_> = gone.into_iter().map(|gone| gone.session).collect();
        all.sort_unstable();
        all
    }

    fn filled(count: u32, bytes: u64, now: Instant) -> Ended<u32> {
        let mut ended = Ended::new(None);
        for number in 0..count {
            let id = SessionId::generate();
            let since = now + Duration::from_millis(number.into());
            assert_eq!(ended.insert(id, number, since, bytes), None);
            ended.complete(id);
        }
        ended
    }

    #[test]
    fn the_oldest_go_first_by_number_by_size_and_by_age() {
        let now = Instant::now();
        let mut ended = filled(SESSIONS_MAX as u32 + 3, 1, now);
        assert_eq!(ids(ended.expire(now)), [0, 1, 2]);
        assert!(ids(ended.expire(now)).is_empty());
        assert_eq!(ended.expire(now + KEPT_FOR + Duration::from_secs(1)).len(), SESSIONS_MAX);
        let mut ended = filled(5, BYTES_MAX / 2, now);
        assert_eq!(ids(ended.expire(now)), [0, 1, 2]);
        let mut ended = filled(2, BYTES_MAX * 2, now);
        assert_eq!(ids(ended.expire(now)), [0], "the last one is kept");
    }

    #[test]
    fn what_is_incomplete_stays_until_it_is() {
        let (now, id) = (Instant::now(), SessionId::generate());
        let mut ended = Ended::new(Some(Duration::from_secs(1)));
        ended.insert(id, 7, now, 1);
        assert!(ended.get(id).is_some() && ended.is_held(id) && !ended.release(id));
        let late = now + Duration::from_secs(2);
        assert_eq!(ended.expire(late), []);
        assert!(ended.get(id).is_none() && ended.is_held(id));
        ended.complete(id);
        assert_eq!(ended.expire(late), [Gone { id, session: 7, held: true }]);
    }

    #[test]
    fn what_is_started_again_is_read_and_not_held() {
        let (now, id) = (Instant::now(), SessionId::generate());
        let mut ended = Ended::new(None);
        ended.insert(id, 7, now, 1);
        ended.complete(id);
        assert!(ended.release(id) && !ended.release(id) && !ended.is_held(id));
        assert_eq!(ended.get(id), Some(&7));
        assert_eq!(ended.insert(id, 8, now, 1), Some(7));
        assert!(ended.is_held(id));
        ended.complete(id);
        ended.drop_output(id);
        assert_eq!(ended.expire(now), [Gone { id, session: 8, held: true }]);
    }
}
