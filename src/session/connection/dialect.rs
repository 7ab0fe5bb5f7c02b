//! The three ways of speaking over a WebSocket, as far as output is concerned.

use crate::protocol::{JsonServerMessage, ServerMessage};
use actix_http::ws::Message;
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

/// A client's way of speaking over its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `stayd.v1`: binary frames are bytes, text frames are JSON control.
    Stayd,
    /// `raw.v1`, or no subprotocol: bytes alone.
    Raw,
    /// `json.v1`: every message is JSON.
    Json,
}

impl Dialect {
    /// The subprotocols, best first.
    pub const NAMES: [&'static str; 3] = ["stayd.v1", "raw.v1", "json.v1"];

    /// The subprotocol's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let [stayd, raw, json] = Self::NAMES;
        match self {
            Dialect::Stayd => stayd,
            Dialect::Raw => raw,
            Dialect::Json => json,
        }
    }

    /// The dialect that a subprotocol names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "stayd.v1" => Some(Dialect::Stayd),
            "raw.v1" => Some(Dialect::Raw),
            "json.v1" => Some(Dialect::Json),
            _ => None,
        }
    }

    /// A control message in this dialect, if it has one for it.
    pub(crate) fn control(self, message: &ServerMessage) -> Option<Message> {
        match (self, message) {
            (Dialect::Stayd, message) => Some(json(message)),
            (Dialect::Json, ServerMessage::Exit { code, signal, .. }) => {
                Some(json(&JsonServerMessage::Exit { exit_code: *code, signal: *signal }))
            }
            (Dialect::Json, ServerMessage::Error { message, .. }) => {
                Some(json(&JsonServerMessage::Error { message: message.clone() }))
            }
            _ => None,
        }
    }
}

/// A text frame of a message's JSON.
pub(crate) fn json<T: serde::Serialize>(message: &T) -> Message {
    Message::Text(json_text(message))
}

/// A message's JSON.
pub(in crate::session) fn json_text<T: serde::Serialize>(message: &T) -> ByteString {
    // Plain structs of strings and numbers: nothing in them can fail to be written.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// Writes the header of an unmasked, unfragmented binary frame (RFC 6455, section 5.2).
pub(crate) fn put_binary_header(frame: &mut BytesMut, length: usize) {
    const FIN_BINARY: u8 = 0x82;
    frame.put_u8(FIN_BINARY);
    if length < 126 {
        frame.put_u8(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        frame.put_u8(126);
        frame.put_u16(length);
    } else {
        frame.put_u8(127);
        frame.put_u64(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_lengths() {
        for (length, size) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut frame = BytesMut::new();
            put_binary_header(&mut frame, length);
            assert_eq!(frame.len(), size, "{length}");
        }
    }
}
