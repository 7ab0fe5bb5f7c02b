//! The frames of one WebSocket, as a stream that can be held back.

use actix_http::ws::{Codec, Frame, ProtocolError};
use actix_web::web::{BytesMut, Payload};
use futures_util::Stream;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_codec::Decoder;

/// The longest frame that a client may send, in bytes: an input window and its slack.
const FRAME_MAX: usize = 128 << 10;

/// Holds a client's frames back: a full input queue pauses the reading of its socket.
#[derive(Debug, Default)]
pub(crate) struct Valve {
    shut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Valve {
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
    valve: Rc<Valve>,
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
            valve: Rc::default(),
            over: false,
        }
    }

    pub(crate) fn valve(&self) -> Rc<Valve> {
        self.valve.clone()
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
            if this.valve.shut.get() {
                *this.valve.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match this.codec.decode(&mut this.buffer) {
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
