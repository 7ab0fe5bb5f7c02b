//! What a session's actor is asked and told.

use super::connection::Attachment;
use super::expected::Expected;
use super::record::Revival;
use crate::holder::HolderError;
use crate::id::{ClientKey, SessionId};
use crate::lifecycle::Refused;
use crate::protocol::{self, Cause, CloseCode, Mode, RestartPolicy, ServerMessage, SizePolicy};
use actix::prelude::*;
use bytestring::ByteString;
use std::collections::BTreeMap;

/// A WebSocket client has come. One that comes too late, because the session is being ended or
/// has ended, is served what there is and not counted, if it goes on with output that it has
/// or if the program ended by itself. A session that somebody ended refuses all others.
#[derive(Message)]
#[rtype(result = "Result<Attached, Refused>")]
pub struct Attach {
    /// Where to send what concerns it.
    pub recipient: Recipient<ConnectionEvent>,
    /// Its key in the holder's ledger: one live connection each.
    pub key: ClientKey,
    /// Its name, as others see it.
    pub client: String,
    /// What it may do.
    pub mode: Mode,
    /// Whether it follows the output, which holds the program back.
    pub follows: bool,
    /// It goes on with output of this session that it has.
    pub resumes: bool,
    /// Columns and rows of its terminal, if it said so.
    pub size: Option<(u16, u16)>,
    /// Whose client it is.
    pub cause: Option<Cause>,
}

/// The client is attached.
pub struct Attached {
    /// Its place among the session's connections.
    pub attachment: Attachment,
    /// The session with this client in it.
    pub view: protocol::Session,
}

/// The client has gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Detach {
    pub(crate) connection: u64,
}

/// The client types, so the terminal takes its size.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeControl {
    pub(crate) connection: u64,
}

/// The terminal is to have another size.
#[derive(Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Resize {
    /// Whose terminal changed; `None`: an administrator wants it.
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
    /// Who asks; `None`: nobody over HTTP.
    pub cause: Option<Cause>,
    /// What it must still be.
    pub expected: Option<Expected>,
}

/// Why a session was not changed.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not what was expected, but this.
    #[error("the session has changed")]
    Changed(Box<protocol::Session>),
}

/// As [`Kill`], to start its command again afterwards.
#[derive(Message)]
#[rtype(result = "Result<Killed, NotDone>")]
pub struct StopForRestart {
    /// Who asks.
    pub cause: Option<Cause>,
    /// What the session must still be.
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

/// Whom a signal is for.
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
    /// Whom it is for.
    pub to: SignalTarget,
    /// Who asks.
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
    /// Whose size the terminal has.
    pub size_policy: Option<SizePolicy>,
    /// Whether its command is started again.
    pub restart: Option<RestartPolicy>,
    /// What it must still be.
    pub expected: Option<Expected>,
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
    /// Its command is to be started again.
    pub revival: Option<Box<Revival>>,
    /// Its record, its recording and its last screen are written: the holder may forget it.
    pub complete: bool,
}

/// An ended session is not kept any longer: its actor stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dismiss;

/// What a session tells its connections.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum ConnectionEvent {
    /// The session's state, as JSON, for those who speak of such things.
    State(ByteString),
    /// The session ended: after all output, this farewell and close 1000.
    End(ServerMessage),
    /// The session ended and its command will be started again: after all output, close 1001.
    Again,
    /// Close at once.
    Close(CloseCode, &'static str),
}
