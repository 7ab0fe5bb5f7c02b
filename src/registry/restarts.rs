//! The sessions that are to be started again, and their times. Pure: the registry arms the timers
//! and starts what is due.

use super::requests::{RestartError, SessionRef};
use crate::id::SessionId;
use crate::protocol::{Cause, Session as View};
use crate::session::{Expected, Revival};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

pub(super) type Restarted = Result<SessionRef, RestartError>;

/// Restarts that are waited for or under way.
#[derive(Default)]
pub(super) struct Restarts {
    /// Ended sessions that will be started again.
    pending: HashMap<SessionId, Pending>,
    /// Sessions that are being started now; the channel closes when that is over.
    under_way: HashMap<SessionId, watch::Receiver<()>>,
    /// Requests for a restart that are not answered yet.
    requests: HashMap<SessionId, Requests>,
}

/// The requests for one session's restart.
#[derive(Default)]
struct Requests {
    /// The last client that asked.
    cause: Option<Cause>,
    answers: Vec<oneshot::Sender<Restarted>>,
}

struct Pending {
    revival: Revival,
    /// Set once the holder has forgotten the process that ended: when its successor is started.
    due: Option<Instant>,
}

impl Restarts {
    /// The records of all sessions that will be started again.
    pub(super) fn views(&self) -> impl Iterator<Item = &View> {
        self.pending.values().map(|pending| &pending.revival.row.session)
    }

    /// The record of one of them.
    pub(super) fn view(&self, id: SessionId) -> Option<&View> {
        self.pending.get(&id).map(|pending| &pending.revival.row.session)
    }

    /// The channel of a session that is being started now.
    pub(super) fn under_way(&self, id: SessionId) -> Option<&watch::Receiver<()>> {
        self.under_way.get(&id)
    }

    /// Waits for the holder to forget what has ended.
    pub(super) fn add(&mut self, revival: Revival) {
        let id = revival.row.session.id;
        self.pending.entry(id).or_insert(Pending { revival, due: None });
    }

    /// The holder has forgotten what has ended: returns after how long the session is due. `None`:
    /// it is not to be started again, or not yet known to be.
    pub(super) fn forgotten(&mut self, id: SessionId, at: DateTime<Utc>) -> Option<Duration> {
        let asked = self.is_requested(id);
        let pending = self.pending.get_mut(&id)?;
        let restart_at = pending.revival.row.session.restart_at.unwrap_or_default();
        let left = (restart_at - at).to_std().unwrap_or(Duration::ZERO);
        let left = if asked { Duration::ZERO } else { left };
        pending.due = Some(Instant::now() + left);
        Some(left)
    }

    /// Whether the holder has forgotten what has ended, so that only the time is waited for.
    pub(super) fn is_forgotten(&self, id: SessionId) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.due.is_some())
    }

    /// Takes out a session that is due. A timer that a later one has replaced finds none.
    pub(super) fn take_due(&mut self, id: SessionId) -> Option<(Revival, Option<Cause>)> {
        let is_due = |due: Instant| due <= Instant::now();
        if !self.pending.get(&id)?.due.is_some_and(is_due) {
            return None;
        }
        let revival = self.pending.remove(&id)?.revival;
        let cause = self.requests.get(&id).and_then(|requests| requests.cause.clone());
        Some((revival, cause))
    }

    /// Cancels the restart of a session, and returns the session if it was waiting.
    pub(super) fn cancel(&mut self, id: SessionId) -> Option<Revival> {
        self.pending.remove(&id).map(|pending| pending.revival)
    }

    /// Cancels all restarts that are waited for, and returns their sessions.
    pub(super) fn cancel_all(&mut self) -> Vec<Revival> {
        self.pending.drain().map(|(_, pending)| pending.revival).collect()
    }

    pub(super) fn begin(&mut self, id: SessionId, started: watch::Receiver<()>) {
        self.under_way.insert(id, started);
    }

    pub(super) fn end(&mut self, id: SessionId) {
        self.under_way.remove(&id);
    }

    /// Refuses a request if the session is not what it expects.
    pub(super) fn check(
        &self,
        id: SessionId,
        expected: Option<&Expected>,
    ) -> Result<(), RestartError> {
        match (self.view(id), expected) {
            (Some(session), Some(expected)) if !expected.holds(session) => {
                Err(RestartError::Changed(Box::new(session.clone())))
            }
            _ => Ok(()),
        }
    }

    /// Notes a request; the receiver gets its answer.
    pub(super) fn request(
        &mut self,
        id: SessionId,
        cause: Option<Cause>,
    ) -> oneshot::Receiver<Restarted> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.entry(id).or_default();
        requests.cause = cause;
        requests.answers.push(answer);
        answered
    }

    /// Whether a request still waits. One whose client has gone does not.
    pub(super) fn is_requested(&mut self, id: SessionId) -> bool {
        let Some(requests) = self.requests.get_mut(&id) else { return false };
        requests.answers.retain(|answer| !answer.is_closed());
        let waits = !requests.answers.is_empty();
        if !waits {
            self.requests.remove(&id);
        }
        waits
    }

    /// Whether an ended session is to be started again, or a request waits for that.
    pub(super) fn is_wanted(&mut self, id: SessionId) -> bool {
        self.pending.contains_key(&id) || self.is_requested(id)
    }

    /// Answers every request for this session.
    pub(super) fn answer(&mut self, id: SessionId, restarted: &Restarted) {
        for answer in self.requests.remove(&id).unwrap_or_default().answers {
            // The client may have gone.
            let _ = answer.send(restarted.clone());
        }
    }
}
