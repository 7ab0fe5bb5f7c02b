//! The audit log: what was done, by whom, from where, and what was refused. It is written behind,
//! by the persistence actor, and never disturbs what it is about.

use crate::id::SessionId;
use crate::protocol::Cause;
use crate::rights::Action;
use crate::store::{AuditEntry, Outcome, StoreHandle};
use actix_web::rt::time::sleep;
use chrono::{TimeDelta, Utc};
use slog::{Logger, warn};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is done again and again (typing, reading a screen) is one entry in this time.
const SELDOM: Duration = Duration::from_secs(60);
/// How many such things are remembered.
const RECENT_MAX: usize = 4096;
/// How often old entries are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);

/// The address of those who come over the unix socket.
pub const LOCAL: &str = "local";

/// A principal's name, an action and the session that it is done to.
type Doing = (String, &'static str, Option<SessionId>);

/// The log. Clones share it.
#[derive(Clone)]
pub struct Audit {
    store: StoreHandle,
    recent: Arc<Mutex<HashMap<Doing, Instant>>>,
}

/// One client of a session, as the log knows it.
#[derive(Clone)]
pub struct Auditor {
    audit: Audit,
    cause: Cause,
    session: SessionId,
}

impl Audit {
    /// The log in this database.
    #[must_use]
    pub fn new(store: StoreHandle) -> Audit {
        Audit { store, recent: Arc::default() }
    }

    /// Writes an entry.
    pub fn note(
        &self,
        cause: Option<&Cause>,
        action: &str,
        session: Option<SessionId>,
        outcome: Outcome,
        detail: Option<String>,
    ) {
        self.store.audit(AuditEntry {
            at: Utc::now(),
            principal: cause.map(|cause| cause.token.clone()),
            address: cause.map(|cause| cause.address.clone().unwrap_or_else(|| LOCAL.to_owned())),
            action: action.to_owned(),
            session_id: session.map(|session| session.to_string()),
            outcome,
            detail,
        });
    }

    /// Writes a login that was refused: nobody knows who it was.
    pub fn note_stranger(&self, address: Option<String>, action: &str, detail: &str) {
        self.store.audit(AuditEntry {
            at: Utc::now(),
            principal: None,
            address,
            action: action.to_owned(),
            session_id: None,
            outcome: Outcome::Refused,
            detail: Some(detail.to_owned()),
        });
    }

    /// Whether this is the first time in a while that a principal does this.
    pub fn is_first(&self, principal: &str, action: Action, session: Option<SessionId>) -> bool {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.retain(|_, at| now.duration_since(*at) < SELDOM);
            // They are all recent: what is forgotten is written once more.
            if recent.len() >= RECENT_MAX {
                recent.clear();
            }
        }
        let last = recent.get(&(principal.to_owned(), action.as_str(), session));
        let is_first = last.is_none_or(|at| now.duration_since(*at) >= SELDOM);
        if is_first {
            recent.insert((principal.to_owned(), action.as_str(), session), now);
        }
        is_first
    }

    /// The log's view of one client of a session.
    #[must_use]
    pub fn of(&self, cause: Cause, session: SessionId) -> Auditor {
        Auditor { audit: self.clone(), cause, session }
    }

    /// Removes entries that are older than `kept`, now and again.
    pub async fn keep(self, kept: Option<Duration>, log: Logger) {
        loop {
            // A time beyond the calendar means for ever; there is a bound on their number then.
            let kept = kept.and_then(|kept| TimeDelta::from_std(kept).ok());
            let before = kept.and_then(|kept| Utc::now().checked_sub_signed(kept));
            if let Err(error) = self.store.expire_audit(before.unwrap_or_default()).await {
                warn!(log, "old entries of the audit log could not be removed"; "error" => %error);
            }
            sleep(EXPIRE_EVERY).await;
        }
    }
}

impl Auditor {
    /// Writes an entry.
    pub fn done(&self, action: &str, detail: Option<String>) {
        self.audit.note(Some(&self.cause), action, Some(self.session), Outcome::Done, detail);
    }

    /// Writes an entry, unless there was one a moment ago.
    pub fn done_seldom(&self, action: Action, detail: Option<String>) {
        if self.audit.is_first(&self.cause.token, action, Some(self.session)) {
            self.done(action.as_str(), detail);
        }
    }
}
