//! The streams of one connection, and the machines at their other ends: who was heard when, and who is lost.

use super::stream::Shared;
use super::subject::{End, NodeName};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A machine that has not been heard for so long has lost its streams.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// The most streams that one machine may have open to another.
pub(super) const STREAMS_MAX: usize = 4096;

/// Which stream: our end of it, the machine at the other, and its word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) end: End,
    pub(super) other: NodeName,
    pub(super) stream: Box<str>,
}

impl Key {
    /// The other end.
    pub(super) fn far(&self) -> End {
        match self.end {
            End::Edge => End::Node,
            End::Node => End::Edge,
        }
    }
}

/// The streams that are open, and the machines at their other ends.
#[derive(Default)]
pub(super) struct Table {
    streams: HashMap<Key, Arc<Shared>>,
    others: HashMap<(End, NodeName), Other>,
}

/// The machine at the other end of some streams.
struct Other {
    run: Option<u64>,
    heard: Instant,
    streams: usize,
}

impl Table {
    /// The number of streams that are open.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// All streams.
    pub(super) fn all(&self) -> Vec<Arc<Shared>> {
        self.streams.values().cloned().collect()
    }

    /// Whether there is room for it.
    pub(super) fn add(&mut self, key: Key, shared: Arc<Shared>, run: Option<u64>) -> bool {
        let new = || Other { run, heard: Instant::now(), streams: 0 };
        let other = self.others.entry((key.end, key.other.clone())).or_insert_with(new);
        if other.streams >= STREAMS_MAX {
            return false;
        }
        other.streams += 1;
        self.streams.insert(key, shared);
        true
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if self.streams.remove(key).is_none() {
            return;
        }
        let at = (key.end, key.other.clone());
        if let Some(other) = self.others.get_mut(&at) {
            other.streams -= 1;
            if other.streams == 0 {
                self.others.remove(&at);
            }
        }
    }

    /// Something has come for a stream.
    pub(super) fn heard(&mut self, key: &Key) -> Option<Arc<Shared>> {
        if let Some(other) = self.others.get_mut(&(key.end, key.other.clone())) {
            other.heard = Instant::now();
        }
        self.streams.get(key).cloned()
    }

    /// The other side lives this life. Returns the streams of another one.
    pub(super) fn is_now(&mut self, end: End, name: &NodeName, run: u64) -> Vec<Arc<Shared>> {
        let Some(other) = self.others.get_mut(&(end, name.clone())) else { return Vec::new() };
        other.heard = Instant::now();
        let before = other.run.replace(run);
        if before.is_none_or(|before| before == run) {
            return Vec::new();
        }
        self.of(end, name)
    }

    fn of(&self, end: End, name: &NodeName) -> Vec<Arc<Shared>> {
        let is_of = |key: &Key| key.end == end && key.other == *name;
        self.streams
            .iter()
            .filter(|(key, _)| is_of(key))
            .map(|(_, shared)| shared.clone())
            .collect()
    }

    /// The streams of those that are lost, those that are not, and all streams.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    pub(super) fn look(
        &self,
        now: Instant,
    ) -> (Vec<Arc<Shared>>, Vec<(End, NodeName)>, Vec<(Key, Arc<Shared>)>) {
        let is_lost = |other: &Other| now.saturating_duration_since(other.heard) >= LOST_AFTER;
        let (lost, others): (Vec<_>, Vec<_>) =
            self.others.iter().partition(|(_, other)| is_lost(other));
        let lost = lost.into_iter().flat_map(|((end, name), _)| self.of(*end, name)).collect();
        let others = others.into_iter().map(|(at, _)| at.clone()).collect();
        let streams = self.streams.iter().map(|(key, shared)| (key.clone(), shared.clone()));
        (lost, others, streams.collect())
    }
}
