//! The live sessions for those who cannot wait for the registry's answer.

use crate::id::SessionId;
use crate::session::SessionHandle;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The live sessions, shared with other threads.
#[derive(Clone, Default)]
pub struct Roster(Arc<Mutex<Vec<Weak<SessionHandle>>>>);

impl Roster {
    /// Adds a session, until it is dropped.
    pub(super) fn add(&self, session: &Arc<SessionHandle>) {
        let mut sessions = self.lock();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(session));
    }

    /// The ids of all.
    #[must_use]
    pub fn ids(&self) -> Vec<SessionId> {
        self.lock().iter().filter_map(|session| Some(session.upgrade()?.id())).collect()
    }

    /// How many have not ended.
    #[must_use]
    pub fn living(&self) -> usize {
        let sessions = self.lock();
        sessions.iter().filter_map(Weak::upgrade).filter(|one| one.status().is_live()).count()
    }

    /// The session with this id: where it was started again, its present run.
    #[must_use]
    pub fn present(&self, id: SessionId) -> Option<Arc<SessionHandle>> {
        let sessions = self.lock();
        let mut latest_first = sessions.iter().rev().filter_map(Weak::upgrade);
        latest_first.find(|session| session.id() == id)
    }

    /// The session whose first process has this pid, and the name of its profile.
    #[must_use]
    pub fn led_by(&self, pid: i32) -> Option<(SessionId, Option<String>)> {
        let views = self.lock();
        let mut views = views.iter().filter_map(|session| Some(session.upgrade()?.view()));
        let view = views.find(|view| view.pid == Some(pid) && view.ended_at.is_none())?;
        Some((view.id, view.profile))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<SessionHandle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
