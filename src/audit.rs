//! The audit log: what was done, by whom, from where, and what was refused. It is written behind,
//! by the persistence actor, and never disturbs what it is about. Nobody can push out what others have
//! done: what may be done without end and without effect is one entry in a while.

use crate::id::SessionId;
use crate::protocol::Cause;
use crate::rights::Action;
use crate::store::{AuditEntry, Outcome, StoreHandle};
use actix_web::rt::time::sleep;
use chrono::{TimeDelta, Utc};
use slog::{Logger, warn};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What is done again and again (typing, reading a screen) is one entry in this time.
const SELDOM: Duration = Duration::from_secs(60);
/// How many such things are remembered.
const RECENT_MAX: usize = 4096;
/// How many different things of one principal that are not done are entries in this time: ids, names
/// and sessions are many, and whoever asks for all of them must not push out what others have done.
const NOT_DONE_MAX: usize = 256;
/// How often old entries are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);

/// The address of those who come over the unix socket.
pub const LOCAL: &str = "local";

/// A deed that somebody may repeat, which is one entry in a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doing {
    principal: String,
    /// A later token of the same name is another principal.
    token: Option<Uuid>,
    action: &'static str,
    session: Option<SessionId>,
    how: How,
}

/// The result of a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// It is done.
    Done,
    /// It is done, from this address.
    DoneFrom(Option<IpAddr>),
    /// It is refused or fails, with this status.
    NotDone(u16),
}

impl Doing {
    /// What the client of a request does to this session.
    #[must_use]
    pub fn new(cause: &Cause, action: &'static str, session: Option<SessionId>, how: How) -> Doing {
        Doing { principal: cause.token.clone(), token: cause.token_id, action, session, how }
    }

    /// Whether it may be another thing each time, as many as the client likes.
    fn is_of_many(&self) -> bool {
        self.how != How::Done
    }
}

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
    #[must_use]
    pub fn is_first(&self, doing: Doing) -> bool {
        let now = Instant::now();
        let is_recent = |at: &Instant| now.duration_since(*at) < SELDOM;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.retain(|_, at| is_recent(at));
            // They are all recent: what is forgotten is written once more.
            if recent.len() >= RECENT_MAX {
                recent.clear();
            }
        }
        if recent.get(&doing).is_some_and(is_recent) {
            return false;
        }
        let is_alike = |(known, at): &(&Doing, &Instant)| {
            known.is_of_many()
                && (&known.principal, known.token) == (&doing.principal, doing.token)
                && is_recent(at)
        };
        if doing.is_of_many() && recent.iter().filter(is_alike).count() >= NOT_DONE_MAX {
            return false;
        }
        recent.insert(doing, now);
        true
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
        let doing = Doing::new(&self.cause, action.as_str(), Some(self.session), How::Done);
        if self.audit.is_first(doing) {
            self.done(action.as_str(), detail);
        }
    }
}
