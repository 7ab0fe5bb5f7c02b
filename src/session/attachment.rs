//! A client's place in a session, and what the session and its connections tell each other.
//! Neither side knows the other's actor.

use super::requests::Resize;
use crate::id::ClientKey;
use crate::lifecycle::Refused;
use crate::protocol::{self, Cause, CloseCode, Mode, ServerMessage};
use actix::dev::ToEnvelope;
use actix::prelude::*;
use bytestring::ByteString;

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
    /// Whether the client may type.
    pub mode: Mode,
    /// Whether it follows the output, which holds the program back.
    pub follows: bool,
    /// The client continues output of this session that it has.
    pub resumes: bool,
    /// Columns and rows of its terminal, if it said so.
    pub size: Option<(u16, u16)>,
    /// The client's principal.
    pub cause: Option<Cause>,
    /// Whether it is told the names of other clients.
    pub sees_names: bool,
}

/// The client is attached.
pub struct Attached {
    /// Its place among the session's connections.
    pub attachment: Attachment,
    /// The session with this client in it.
    pub view: protocol::Session,
}

/// A place among a session's connections; given up when dropped.
pub struct Attachment {
    /// Which of its connections.
    pub connection: u64,
    /// Where the size of its terminal is told.
    pub(super) resize: Recipient<Resize>,
    /// Where is told that its client types.
    pub(super) take_control: Recipient<TakeControl>,
    /// Where is told whether somebody looks at the client.
    pub(super) look: Recipient<Looking>,
    detach: Recipient<Detach>,
}

impl Attachment {
    /// A place in this session.
    pub(super) fn new<A>(session: &Addr<A>, connection: u64) -> Self
    where
        A: Handler<Detach> + Handler<TakeControl> + Handler<Resize> + Handler<Looking>,
        A::Context: ToEnvelope<A, Detach>
            + ToEnvelope<A, TakeControl>
            + ToEnvelope<A, Resize>
            + ToEnvelope<A, Looking>,
    {
        Attachment {
            connection,
            resize: session.clone().recipient(),
            take_control: session.clone().recipient(),
            look: session.clone().recipient(),
            detach: session.clone().recipient(),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.detach.do_send(Detach { connection: self.connection });
    }
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

/// Somebody begins or ceases to look at the client.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Looking {
    pub(crate) connection: u64,
    pub(crate) looking: bool,
}

/// An event that a session sends to its connections.
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

impl ConnectionEvent {
    /// The event that ends a client's connection to a session that has ended.
    pub(super) fn farewell(session: &protocol::Session) -> Option<Self> {
        if session.restart_at.is_some() {
            return Some(ConnectionEvent::Again);
        }
        Some(ConnectionEvent::End(ServerMessage::Exit {
            code: session.exit_code,
            signal: session.exit_signal,
            reason: session.end_reason?,
        }))
    }
}
