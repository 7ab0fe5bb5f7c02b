//! Sessions between two states, of which the holder, the rows and the registry learn one after
//! the other: whoever compares the three, or wants to start such a session again, waits.

use crate::id::SessionId;
use std::collections::HashSet;
use tokio::sync::watch;

/// The way that a session in transit is on.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// It is being started.
    Starting,
    /// It cannot go on, and what is left of it is being ended, until its row says so.
    Sweeping,
    /// It has ended, and the holder is being asked to forget it, or it is being made readable.
    Leaving,
}

/// Sessions in transit.
#[derive(Default)]
pub(super) struct InTransit {
    /// By [`Way`].
    sessions: [HashSet<SessionId>; 3],
    /// Sent to whenever one of them has arrived.
    settled: watch::Sender<()>,
}

impl InTransit {
    pub(super) fn begin(&mut self, way: Way, id: SessionId) {
        self.sessions[way as usize].insert(id);
    }

    /// The session has arrived, one way or the other.
    pub(super) fn end(&mut self, way: Way, id: SessionId) {
        self.sessions[way as usize].remove(&id);
        self.settled.send_replace(());
    }

    pub(super) fn starts(&self) -> usize {
        self.sessions[Way::Starting as usize].len()
    }

    pub(super) fn is_swept(&self, id: SessionId) -> bool {
        self.sessions[Way::Sweeping as usize].contains(&id)
    }

    /// Whether sessions are being started, or swept up.
    pub(super) fn is_busy(&self) -> bool {
        [Way::Starting, Way::Sweeping].iter().any(|&way| !self.sessions[way as usize].is_empty())
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.sessions.iter().any(|sessions| sessions.contains(&id))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().flatten().copied()
    }

    /// Resolves once one of them has arrived from now on.
    pub(super) fn when_settled(&self) -> impl Future<Output = ()> + use<> {
        let mut settled = self.settled.subscribe();
        async move { drop(settled.changed().await) }
    }
}
