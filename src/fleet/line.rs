//! The line of a session in the directory: how its machine writes it, and how others read it.

use super::limits::{LINE_MAX, hold, make_shorter};
use crate::id::SessionId;
use crate::protocol::Session;
use crate::relay::NodeName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The members of a line that the session's JSON does not have.
#[derive(Default, Deserialize, Serialize)]
struct Beside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_token: Option<Uuid>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    session: &'a Session,
    #[serde(flatten)]
    beside: Beside,
}

/// Why a line is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no session, or not that machine's.
    Ignored,
    /// Another machine has told of a session with this id.
    Disputed,
    /// It says more than there can be: what, for people.
    TooMuch(String),
}

/// The line of a session of this machine. What would make it too long for the others is left out.
pub(super) fn write(session: &Session, node: &NodeName) -> Vec<u8> {
    let mut session = Session { node: Some(node.to_string()), ..session.clone() };
    hold(&mut session);
    let written = |session: &Session| {
        let beside = Beside { owner_token: session.owner_token };
        // Strings, numbers and sorted maps of them cannot fail to be written.
        serde_json::to_vec(&Line { session, beside }).unwrap_or_default()
    };
    let mut line = written(&session);
    let mut step = 0;
    while line.len() > LINE_MAX && make_shorter(&mut session, step) {
        line = written(&session);
        step += 1;
    }
    line
}

/// The session that a machine's line tells of, under this id.
pub(super) fn read(node: &NodeName, id: SessionId, line: &[u8]) -> Result<Session, Refusal> {
    check_length(line)?;
    let session = serde_json::from_slice::<Session>(line).map_err(|_| Refusal::Ignored)?;
    let Beside { owner_token } = serde_json::from_slice(line).unwrap_or_default();
    if session.id != id {
        return Err(Refusal::Ignored);
    }
    let mut session = Session { node: Some(node.to_string()), owner_token, ..session };
    match hold(&mut session) {
        None => Ok(session),
        Some(why) => Err(Refusal::TooMuch(why)),
    }
}

/// Whether a line is short enough to be read.
pub(super) fn check_length(line: &[u8]) -> Result<(), Refusal> {
    let length = line.len();
    let why = || format!("its line has {length} bytes, of at most {LINE_MAX}");
    if length <= LINE_MAX { Ok(()) } else { Err(Refusal::TooMuch(why())) }
}
