//! The control messages of `stayd.v1` and the messages of `json.v1`: one enum a direction.

use super::time::millis_or_null;
use super::{Mode, Session, Viewer};
use crate::lifecycle::{EndReason, Status};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// `stayd.v1`, server to client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message.
    Attached {
        /// The session.
        session: Box<Session>,
        /// The client's name, made up by the server if it gave none.
        client: String,
        /// Offset of the first output byte that follows.
        offset: u64,
        /// Input bytes of this client that were accepted so far.
        input: u64,
        /// See [`super::INPUT_WINDOW`].
        input_window: u64,
        /// What the client may do.
        mode: Mode,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// The next binary message redraws the screen as of `offset`.
    Snapshot {
        /// Offset of the first output byte after it.
        offset: u64,
        /// Its length in bytes.
        length: usize,
        /// Whether it has all that the screen shows. If not, the screen was larger than a snapshot
        /// may be, and lines far from the cursor lack colours or text; or the screen has failed,
        /// and these are the last bytes of output. (Absent where an older server says it.)
        #[serde(default = "yes")]
        complete: bool,
    },
    /// Input accepted by the holder.
    Input {
        /// Bytes of this client, since its beginning.
        received: u64,
    },
    /// The terminal changed its size at this place in the stream.
    Resized {
        /// Offset of the first output byte after it.
        offset: u64,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// The session's state changed.
    State {
        /// New status.
        status: Status,
        /// Clients attached.
        active_connections: u32,
        /// When it will be destroyed, if nobody is attached.
        #[serde(serialize_with = "millis_or_null")]
        destroy_at: Option<DateTime<Utc>>,
        /// Who is attached.
        clients: Vec<Viewer>,
    },
    /// The session ended; close 1000 follows.
    Exit {
        /// Exit code of the leader.
        code: Option<i32>,
        /// Signal that ended the leader.
        signal: Option<i32>,
        /// Why the session ended.
        reason: EndReason,
    },
    /// A request of the client was refused.
    Error {
        /// A stable code in snake_case.
        code: String,
        /// For people.
        message: String,
    },
}

fn yes() -> bool {
    true
}

/// `stayd.v1`, client to server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// The client's terminal has a new size.
    Resize {
        /// Columns, 1–1000.
        cols: u32,
        /// Rows, 1–1000.
        rows: u32,
    },
    /// Output rendered up to this offset.
    Ack {
        /// Bytes since the session's beginning.
        offset: u64,
    },
}

/// `json.v1`, server to client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JsonServerMessage {
    /// Output, never cut inside a character.
    Data {
        /// Text for the terminal.
        content: String,
    },
    /// The session ended.
    Exit {
        /// Exit code of the leader.
        #[serde(rename = "exitCode")]
        exit_code: Option<i32>,
        /// Signal that ended the leader.
        signal: Option<i32>,
    },
    /// A request was refused.
    Error {
        /// For people.
        message: String,
    },
}

/// `json.v1`, client to server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum JsonClientMessage {
    /// Keystrokes.
    Input(String),
    /// The client's terminal has a new size.
    Resize {
        /// Columns, 1–1000.
        cols: u32,
        /// Rows, 1–1000.
        rows: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_the_documented_ones() {
        let ack: ClientMessage = serde_json::from_str(r#"{"type":"ack","offset":7}"#).unwrap();
        assert_eq!(ack, ClientMessage::Ack { offset: 7 });
        let resize = r#"{"type":"resize","data":{"cols":80,"rows":24}}"#;
        let resize: JsonClientMessage = serde_json::from_str(resize).unwrap();
        assert_eq!(resize, JsonClientMessage::Resize { cols: 80, rows: 24 });
        let exit = JsonServerMessage::Exit { exit_code: Some(3), signal: None };
        assert_eq!(
            serde_json::to_string(&exit).unwrap(),
            r#"{"type":"exit","exitCode":3,"signal":null}"#
        );
        let input = ServerMessage::Input { received: 9 };
        assert_eq!(serde_json::to_string(&input).unwrap(), r#"{"type":"input","received":9}"#);
    }
}
