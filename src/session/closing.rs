//! The frames that end a WebSocket to which no session belongs.

use super::dialect::Dialect;
use super::outbox::close_reason;
use crate::protocol::{CloseCode, ServerMessage};
use actix_codec::Encoder;
use actix_http::ws::{Codec, Message};
use bytes::{Bytes, BytesMut};

/// An error message (where the dialect has one) and a close frame.
pub(crate) fn close_frames(
    dialect: Dialect,
    error: Option<&ServerMessage>,
    code: CloseCode,
    reason: &str,
) -> Bytes {
    let (mut codec, mut frames) = (Codec::new(), BytesMut::new());
    let error = error.and_then(|error| dialect.control(error));
    for message in error.into_iter().chain([Message::Close(Some(close_reason(code, reason)))]) {
        // Only a fragmented message could be refused, and these are whole.
        let _ = codec.encode(message, &mut frames);
    }
    frames.freeze()
}
