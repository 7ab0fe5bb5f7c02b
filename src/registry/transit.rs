//! Sessions between two states, of which the holder, the rows and the registry learn one after
//! the other: whoever compares the three, or wants to start such a session again, waits.

use crate::id::SessionId;
use std::collections::HashSet;
use tokio::sync::watch;

/// Sessions in transit.
#[derive(Default)]
pub(super) struct InTransit {
    /// Being started.
    starting: HashSet<SessionId>,
    /// They cannot go on, and what is left of them is being ended, until their rows say so.
    sweeping: HashSet<SessionId>,
    /// Ended ones that the holder is being asked to forget, or that are being made readable.
    leaving: HashSet<SessionId>,
    /// Sent to whenever one of them has arrived.
    settled: watch::Sender<()>,
}

impl InTransit {
    pub(super) fn begin_start(&mut self, id: SessionId) {
        self.starting.insert(id);
    }

    /// A start is over, one way or the other.
    pub(super) fn end_start(&mut self, id: SessionId) {
        self.starting.remove(&id);
        self.settled.send_replace(());
    }

    pub(super) fn begin_sweep(&mut self, id: SessionId) {
        self.sweeping.insert(id);
    }

    pub(super) fn end_sweep(&mut self, id: SessionId) {
        self.sweeping.remove(&id);
        self.settled.send_replace(());
    }

    pub(super) fn begin_leaving(&mut self, id: SessionId) {
        self.leaving.insert(id);
    }

    /// The holder has nothing of the session any more, or will not let it go.
    pub(super) fn end_leaving(&mut self, id: SessionId) {
        self.leaving.remove(&id);
        self.settled.send_replace(());
    }

    pub(super) fn starts(&self) -> usize {
        self.starting.len()
    }

    pub(super) fn is_swept(&self, id: SessionId) -> bool {
        self.sweeping.contains(&id)
    }

    /// Whether sessions are being started, or swept up.
    pub(super) fn is_busy(&self) -> bool {
        !self.starting.is_empty() || !self.sweeping.is_empty()
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.starting.contains(&id) || self.sweeping.contains(&id) || self.leaving.contains(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        [&self.starting, &self.sweeping, &self.leaving].into_iter().flatten().copied()
    }

    /// Resolves once one of them has arrived from now on.
    pub(super) fn when_settled(&self) -> impl Future<Output = ()> + use<> {
        let mut settled = self.settled.subscribe();
        async move { drop(settled.changed().await) }
    }
}
