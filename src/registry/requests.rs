//! The messages that the registry answers.

use super::create::CreateError;
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::{Cause, CreateSession, Session as View};
use crate::session::{Expected, NotDone, Patch, Session, SessionHandle};
use crate::store::Once;
use actix::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A live session: whom to ask, and what may be touched without asking.
#[derive(Clone)]
pub struct SessionRef {
    /// Its actor.
    pub addr: Addr<Session>,
    /// Its ring, input and view.
    pub handle: Arc<SessionHandle>,
}

/// The id or the name by which a request addresses a session.
#[derive(Clone, Debug)]
pub enum Key {
    /// By id.
    Id(SessionId),
    /// By the name of a live session.
    Name(String),
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Key::Name(text.to_owned()), Key::Id)
    }
}

/// Starts a session.
#[derive(Message)]
#[rtype(result = "Answered")]
pub struct Create {
    /// The client's request.
    pub request: CreateSession,
    /// The token and address of the client that asks; `None`: the server itself.
    pub cause: Option<Cause>,
    /// The `Idempotency-Key`: the session is made once, however often it is asked for.
    pub once: Option<Once>,
}

/// The result of a creation, of this request or of an earlier one with the same key.
#[derive(Debug)]
pub struct Answered {
    /// The session as it is now.
    pub result: Result<Box<View>, CreateError>,
    /// An earlier request has made it.
    pub replayed: bool,
}

impl Answered {
    pub(super) fn new(result: Result<Box<View>, CreateError>) -> Self {
        Answered { result, replayed: false }
    }
}

/// Finds a live session.
#[derive(Message)]
#[rtype(result = "Result<SessionRef, FindError>")]
pub struct Find(pub Key);

/// Why no live session was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FindError {
    /// No live session has this id or name.
    #[error("no live session is called that")]
    Unknown,
    /// The session has ended and will be started again.
    #[error("the session will be started again")]
    Restarting(Box<View>),
}

/// Starts a session's command again under the same id; a live one is ended first. Answered
/// once it runs.
#[derive(Message)]
#[rtype(result = "Result<SessionRef, RestartError>")]
pub struct Restart {
    /// By id, or by the name of one that lives or will be started again.
    pub key: Key,
    /// The token and address of the client that asks; `None`: the server itself.
    pub cause: Option<Cause>,
    /// The state that the session must still have (`If-Match`).
    pub expected: Option<Expected>,
}

/// Why a session was not started again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RestartError {
    /// The session is not in the expected state; this is its present one.
    #[error("the session has changed")]
    Changed(Box<View>),
    /// There is no such session.
    #[error("no session is called that")]
    Unknown,
    /// Another request has ended the session meanwhile.
    #[error("the session is being ended")]
    Ending,
    /// The session could not be started, for one of the reasons that a creation has.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Cancels the pending restart of an ended session. Returns the session's record if a restart
/// was pending.
#[derive(Message)]
#[rtype(result = "Option<View>")]
pub struct CancelRestart {
    /// The ended session.
    pub session: SessionId,
    /// Drops its retained output as well, since its record is to be removed.
    pub purged: bool,
}

/// Announces that everything of an ended session is removed: its recording and its last screen are
/// not completed any more. The session's end must be in the database.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Abandon(
    /// The ended session.
    pub SessionId,
);

/// The result of [`FindOrCreate`].
pub struct FoundOrCreated {
    /// The session of that name.
    pub session: SessionRef,
    /// The session was started for this request, so no client has had any of its output yet.
    pub is_new: bool,
}

/// Finds the live session of this name, or starts one. Of several that ask at once, one
/// starts it and the others get it too.
#[derive(Message)]
#[rtype(result = "Result<FoundOrCreated, CreateError>")]
pub struct FindOrCreate {
    /// The client's request.
    pub request: CreateSession,
    /// The token and address of the client that asks; `None`: the server itself.
    pub cause: Option<Cause>,
}

/// Live sessions and those that will be started again, newest first.
#[derive(Message)]
#[rtype(result = "Vec<View>")]
pub struct List {
    /// Lists only sessions that were created before this one; `None`: all.
    pub before: Option<SessionId>,
    /// At most so many.
    pub most: usize,
    /// Lists only sessions for which this holds.
    pub matches: Box<dyn Fn(&View) -> bool + Send>,
}

/// Changes a session; its name is unique among the live ones.
#[derive(Message)]
#[rtype(result = "Result<View, RenameError>")]
pub struct Rename {
    /// The session to change.
    pub session: SessionId,
    /// The changes.
    pub patch: Patch,
}

/// Why a session was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// The name or a label is not allowed, or the name is taken.
    #[error(transparent)]
    Refused(#[from] CreateError),
    /// The session is not in the expected state; this is its present one.
    #[error("the session has changed")]
    Changed(Box<View>),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

impl From<NotDone> for RenameError {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Refused(_) => RenameError::Ended,
            NotDone::Changed(session) => RenameError::Changed(session),
        }
    }
}

/// Answered once every session that could be restored is there.
#[derive(Message)]
#[rtype(result = "Repairs")]
pub struct Ready;

/// Differences mended since the server started, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Repairs(pub BTreeMap<&'static str, u64>);

/// Counts what is there now, without waiting for what is still being restored.
#[derive(Message)]
#[rtype(result = "Counted")]
pub struct CountSessions;

/// Sessions and repairs, counted.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Live sessions by status.
    pub sessions: BTreeMap<Status, i64>,
    /// Differences mended.
    pub repairs: Repairs,
}

/// Compares registry, holder and rows now, and mends the differences that the last comparison found
/// as well. Returns them.
#[derive(Message)]
#[rtype(result = "Vec<Mended>")]
pub struct Reconcile;

/// A difference that was mended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mended {
    /// The session that differed.
    pub session: SessionId,
    /// `unadopted`, `unforgotten`, `lost`, `row_missing`, `row_differs`, `row_alone` or
    /// `exit_unnoticed`.
    pub kind: &'static str,
}

/// A session that ended a while ago and whose output is still kept. Where its command was
/// started again, that is the life before.
#[derive(Message)]
#[rtype(result = "Option<SessionRef>")]
pub struct FindEnded(pub SessionId);

/// Closes the connection of every client whose session has not ended, and leaves the
/// processes running.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ShutdownAll;

/// Ends every session as a kill does; answered once all have ended. No more are started.
#[derive(Message)]
#[rtype(result = "()")]
pub struct KillAll;
