//! The frames of one WebSocket, as a stream that can be held back.

use actix_http::ws::{Codec, Frame, ProtocolError};
use actix_web::web::{BytesMut, Payload};
use futures_util::{Stream, StreamExt};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_codec::Decoder;

/// The longest frame that a client may send, in bytes: an input window and its slack.
pub(super) const FRAME_MAX: usize = 128 << 10;

/// Bytes of a frame's header that tell how long the frame is.
const LENGTH_AT: usize = 2;

/// Holds a client's frames back: a full input queue pauses the reading of its socket.
#[derive(Debug, Default)]
pub(crate) struct ReadPause {
    shut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl ReadPause {
    /// Whether the client's socket is not being read, so that its silence is not its own.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.get()
    }

    pub(crate) fn set(&self, shut: bool) {
        self.shut.set(shut);
        if !shut && let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Why there are no more frames.
#[derive(Debug)]
pub enum FramesError {
    /// The client does not speak WebSocket (or too much of it at once).
    Protocol(ProtocolError),
    /// The network took the client away.
    Lost,
}

/// Decodes a request's body into frames. The end of the body is the end of the client.
pub struct Frames {
    payload: Payload,
    codec: Codec,
    buffer: BytesMut,
    read_pause: Rc<ReadPause>,
    over: bool,
}

impl Frames {
    /// Frames of an upgraded request.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Frames {
            payload,
            codec: Codec::new().max_size(FRAME_MAX),
            buffer: BytesMut::new(),
            read_pause: Rc::default(),
            over: false,
        }
    }

    pub(crate) fn read_pause(&self) -> Rc<ReadPause> {
        self.read_pause.clone()
    }

    /// The next frame of what has come. A frame that is too long is refused by its header:
    /// the codec would collect all of it first.
    fn decode(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if declared_length(&self.buffer).is_some_and(|length| length > FRAME_MAX as u64) {
            return Err(ProtocolError::Overflow);
        }
        self.codec.decode(&mut self.buffer)
    }

    /// Bytes that have come and belong to no frame yet.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.buffer.len()
    }

    /// Throws away what still comes, until the client closes or hangs up.
    pub(crate) async fn drain(mut self) {
        while let Some(frame) = self.next().await {
            if matches!(frame, Ok(Frame::Close(_)) | Err(FramesError::Lost)) {
                return;
            }
        }
        // After a frame that makes no sense nothing that follows does.
        self.buffer = BytesMut::new();
        while let Some(Ok(_)) = self.payload.next().await {}
    }
}

/// The payload length that the frame at the beginning of `buffer` declares (RFC 6455,
/// section 5.2), once that much of its header is there.
fn declared_length(buffer: &[u8]) -> Option<u64> {
    let long = buffer.get(LENGTH_AT..).unwrap_or_default();
    match buffer.get(1)? & 0x7f {
        126 => long.first_chunk().map(|length| u64::from(u16::from_be_bytes(*length))),
        127 => long.first_chunk().map(|length| u64::from_be_bytes(*length)),
        short => Some(short.into()),
    }
}

impl Stream for Frames {
    type Item = Result<Frame, FramesError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.over {
                return Poll::Ready(None);
            }
            if this.read_pause.shut.get() {
                *this.read_pause.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match this.decode() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(error) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(FramesError::Protocol(error))));
                }
            }
            match Pin::new(&mut this.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => this.buffer.extend_from_slice(&bytes),
                Poll::Ready(Some(Err(_))) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(FramesError::Lost)));
                }
                Poll::Ready(None) => this.over = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_how_long_its_frame_is_before_the_frame_is_there() {
        for (header, length) in [
            (&b""[..], None),
            (b"\x82", None),
            (b"\x82\x85", Some(5)),
            (b"\x82\xfe\x01", None),
            (b"\x82\xfe\x01\x02", Some(0x102)),
            (b"\x82\xff\0\0\0\0\x80\0\0", None),
            (b"\x82\xff\0\0\0\0\x80\0\0\0", Some(1 << 31)),
            (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
        ] {
            assert_eq!(declared_length(header), length, "{header:?}");
        }
    }
}
