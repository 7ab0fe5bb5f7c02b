//! The messages of a session's actor: what others ask of it and tell it.

use super::record::Revival;
use crate::attention;
use crate::holder::HolderError;
use crate::id::SessionId;
use crate::lifecycle::Refused;
use crate::protocol::{self, Cause, IdleWhen, RestartPolicy, SizePolicy};
use actix::prelude::*;
use std::collections::BTreeMap;

/// The terminal is to have another size.
#[derive(Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Resize {
    /// The connection whose terminal changed; `None`: an administrator asks.
    pub connection: Option<u64>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// Ends the session's whole tree; answered once the session has ended.
#[derive(Message)]
#[rtype(result = "Result<Killed, NotDone>")]
pub struct Kill {
    /// The principal that asks; `None`: the server itself.
    pub cause: Option<Cause>,
    /// The condition under which it is done.
    pub expected: Option<Expected>,
}

/// A condition on a session for a change to be made, so that two who administer the same session
/// do not undo each other's work unseen. Entity tags (RFC 9110, `If-Match`), without their
/// quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// As it was when it had one of these, for whoever sees this much of it.
    OneOf(Vec<String>, Visibility),
}

/// How much of a session somebody sees, and so what its tags are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All of it.
    Whole,
    /// What [`protocol::Session::without_surroundings`] leaves.
    WithoutSurroundings,
}

impl Expected {
    /// Whether a session is still what was expected.
    #[must_use]
    pub fn holds(&self, session: &protocol::Session) -> bool {
        match self {
            Expected::Any => true,
            Expected::OneOf(tags, Visibility::Whole) => tags.contains(&session.tag()),
            Expected::OneOf(tags, Visibility::WithoutSurroundings) => {
                tags.contains(&session.clone().without_surroundings().tag())
            }
        }
    }

    /// Refuses a change of a session that is another than was expected.
    pub(super) fn check(&self, session: protocol::Session) -> Result<(), NotDone> {
        if self.holds(&session) { Ok(()) } else { Err(NotDone::Changed(Box::new(session))) }
    }
}

/// Why a session was not changed.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The session's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The session is not what was expected, but this.
    #[error("the session has changed")]
    Changed(Box<protocol::Session>),
}

/// As [`Kill`], to start its command again afterwards.
#[derive(Message)]
#[rtype(result = "Result<Killed, NotDone>")]
pub struct StopForRestart {
    /// The principal that asks.
    pub cause: Option<Cause>,
    /// The condition under which it is done.
    pub expected: Option<Expected>,
}

/// A session's end.
#[derive(Clone, Debug)]
pub struct Killed {
    /// The final record.
    pub session: protocol::Session,
    /// Whether the record is in the database already.
    pub persisted: bool,
}

/// The receivers of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalTarget {
    /// The terminal's foreground process group.
    #[default]
    Foreground,
    /// Every process of the session.
    Tree,
}

/// Sends a signal.
#[derive(Message)]
#[rtype(result = "Result<(), SignalError>")]
pub struct Signal {
    /// Its number.
    pub signal: i32,
    /// The receivers.
    pub to: SignalTarget,
    /// The principal that asks.
    pub cause: Option<Cause>,
}

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The session is over.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The holder could not do it.
    #[error(transparent)]
    Holder(#[from] HolderError),
}

/// Changes what an administrator may change. The registry has seen to the name.
#[derive(Message)]
#[rtype(result = "Result<protocol::Session, NotDone>")]
pub struct Patch {
    /// `Some(None)` takes the name away.
    pub name: Option<Option<String>>,
    /// Replaces all labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Seconds; `Some(None)`: never destroyed.
    pub idle_timeout_s: Option<Option<u64>>,
    /// What counts as idle.
    pub idle_when: Option<IdleWhen>,
    /// The policy for the terminal's size.
    pub size_policy: Option<SizePolicy>,
    /// Whether its command is started again.
    pub restart: Option<RestartPolicy>,
    /// The condition under which it is done.
    pub expected: Option<Expected>,
}

impl Patch {
    /// Makes the change in what a row says.
    pub(super) fn write_to(self, session: &mut protocol::Session) {
        if let Some(name) = self.name {
            session.name = name;
        }
        if let Some(labels) = self.labels {
            session.labels = labels;
        }
        if let Some(idle_timeout_s) = self.idle_timeout_s {
            session.idle_timeout_before_s = match idle_timeout_s {
                // Whoever keeps it twice has not forgotten what it had.
                None => session.idle_timeout_s.or(session.idle_timeout_before_s),
                Some(_) => None,
            };
            session.idle_timeout_s = idle_timeout_s;
        }
        if let Some(idle_when) = self.idle_when {
            session.idle_when = idle_when;
        }
        if let Some(policy) = self.size_policy {
            session.size_policy = policy;
        }
        if let Some(restart) = self.restart {
            session.restart = restart;
        }
    }
}

/// A program says what it is doing, or somebody in its stead. Answered with the later report, if there was
/// one: then this one has changed nothing.
#[derive(Message)]
#[rtype(result = "Result<Option<attention::Older>, Refused>")]
pub struct Report {
    /// What it says. Its program is found by the session.
    pub report: attention::Report,
    /// The process that reports, if it is one of this machine's.
    pub reporter: Option<i32>,
}

/// The holder, or who compared it with the database, has something to tell of this session.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub enum Noticed {
    /// There is output beyond the watch mark.
    Output,
    /// The leader has ended and its output is drained.
    Exited,
    /// The row does not say what it should.
    Rewrite,
    /// The holder does not hold the session any more.
    Lost,
    /// The wall clock was set.
    ClockJumped,
}

/// Something has happened on the screen.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Seen(pub crate::screens::ScreenEvents);

/// The server stops: close the connections, leave the process running. Clients of a session
/// that has ended are left alone, since they are told the exit.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Told to the registry: the session is over. Told twice, unless its record could not be
/// written at first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionEnded {
    /// Which.
    pub id: SessionId,
    /// Set where the command is to be started again.
    pub revival: Option<Box<Revival>>,
    /// Record, recording and last screen are written: the holder may forget the session.
    pub complete: bool,
}

/// An ended session is not kept any longer: its actor stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dismiss;
