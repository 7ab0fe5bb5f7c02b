//! A session whose command is to be started again: when, and from which state.

use crate::lifecycle::{self, LifecycleSnapshot, Now, Signals, Status};
use crate::store::Row;
use chrono::TimeDelta;
use std::time::Duration;

/// What the registry needs to start a session's command again, under the same id.
#[derive(Clone, Debug)]
pub struct Revival {
    /// The final row of what has ended; its `restart_at` says when.
    pub row: Row,
    /// Its life just before the end, which is gone on with: who crashes while nobody looks is
    /// still destroyed in time. `None` begins a new one.
    pub saved: Option<LifecycleSnapshot>,
}

impl Revival {
    /// It was to be destroyed meanwhile, since nobody looks at it.
    pub(crate) fn is_overdue(&self, now: Now) -> bool {
        let idle = |saved: &LifecycleSnapshot| saved.status != Status::Active;
        let deadline = self.saved.filter(idle).and_then(|saved| saved.deadline);
        deadline.is_some_and(|deadline| deadline.boot_ms <= now.boot_ms)
    }

    /// `before`: its life just before the end.
    pub(crate) fn of(row: &Row, before: Option<LifecycleSnapshot>) -> Option<Self> {
        row.session.restart_at?;
        let asked = row.restart_streak == 0;
        let saved = before.filter(|_| !asked);
        let saved = saved.map(|saved| LifecycleSnapshot {
            ending: None,
            signals: Signals::default(),
            ..saved
        });
        Some(Revival { row: row.clone(), saved })
    }
}

/// Decides, once its end is in the row, whether and when a session's command is started
/// again. Where somebody has asked for it, that is decided already.
pub(crate) fn decide_restart(row: &mut Row) {
    let session = &mut row.session;
    let (Some(ended_at), Some(reason)) = (session.ended_at, session.end_reason) else { return };
    if session.restart_at.is_some() {
        row.restart_streak = 0;
        return;
    }
    let started_at = session.started_at.unwrap_or(session.created_at);
    let ran = (ended_at - started_at).to_std().unwrap_or(Duration::ZERO);
    let streak = row.restart_streak;
    if let Some(again) = lifecycle::again(session.restart, session.status, reason, ran, streak) {
        let after = TimeDelta::from_std(again.after).unwrap_or_default();
        session.restart_at = Some(ended_at + after);
        row.restart_streak = again.streak;
    }
}
