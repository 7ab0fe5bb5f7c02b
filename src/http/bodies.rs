//! Bounds bodies in time and memory whatever the peer does: a request's body must come in time, and
//! no more than a slice of an answer lies in a connection's buffer.

use super::lease::{Lease, Why};
use actix_http::error::PayloadError;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, rt};
use futures_util::future::LocalBoxFuture;
use futures_util::{Stream, StreamExt};
use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Bytes of an answer that are handed on at once. The dispatcher stops polling once so many wait to
/// be written, but takes a single piece whole, however long it is.
const SLICE: usize = 32 << 10;

/// The body of a request, shared by its handler and its answer. As long as the answer holds it, the
/// dispatcher closes the connection after the answer if the body has not come whole; if it were
/// dropped, the dispatcher would wait for its end forever.
#[derive(Clone)]
pub(super) struct RequestBody(Rc<RefCell<Incoming>>);

struct Incoming {
    payload: Payload,
    deadline: Pin<Box<Sleep>>,
    is_late: bool,
}

impl RequestBody {
    /// Puts a deadline on a request's body. `None`: there is no body, or it is a WebSocket, which
    /// may be silent for long.
    pub(super) fn bounded(request: &mut ServiceRequest, within: Duration) -> Option<RequestBody> {
        let headers = request.headers();
        let is_socket = request.method() == Method::GET
            && headers.contains_key(header::UPGRADE)
            && !headers.contains_key(header::TRANSFER_ENCODING);
        if is_socket {
            return None;
        }
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let deadline = Box::pin(rt::time::sleep(within));
        let incoming = Incoming { payload, deadline, is_late: false };
        let body = RequestBody(Rc::new(RefCell::new(incoming)));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Some(body)
    }

    /// Whether a read of it has timed out.
    pub(super) fn is_late(&self) -> bool {
        self.0.borrow().is_late
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut incoming = self.0.borrow_mut();
        if let Poll::Ready(piece) = incoming.payload.poll_next_unpin(context) {
            return Poll::Ready(piece);
        }
        if incoming.deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        incoming.is_late = true;
        Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))))
    }
}

/// The body of an answer.
pub struct AnswerBody {
    body: BoxBody,
    /// The rest of the piece that `body` returned last.
    rest: Bytes,
    /// Set for `HEAD`: the size is sent, and no content.
    is_head: bool,
    /// Resolves when the lease ends, which breaks the body off with an error, since half a download
    /// must not look like a whole one. `None`: the body is too short to outlive a lease.
    ended: Option<LocalBoxFuture<'static, Why>>,
    _request: Option<RequestBody>,
}

impl AnswerBody {
    pub(super) fn new(
        body: BoxBody,
        is_head: bool,
        request: Option<RequestBody>,
        lease: Option<Lease>,
    ) -> Self {
        let lasts = match body.size() {
            BodySize::None => false,
            BodySize::Sized(length) => length > SLICE as u64,
            BodySize::Stream => true,
        };
        let ended = lease.filter(|_| lasts).map(|lease| lease.ended());
        AnswerBody { body, rest: Bytes::new(), is_head, ended, _request: request }
    }
}

impl MessageBody for AnswerBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.is_head {
            return Poll::Ready(None);
        }
        if let Some(Poll::Ready(why)) =
            self.ended.as_mut().map(|ended| ended.as_mut().poll(context))
        {
            return Poll::Ready(Some(Err(why.text().into())));
        }
        if self.rest.is_empty() {
            match self.body.as_pin_mut().poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => self.rest = piece,
                other => return other,
            }
        }
        let slice = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(self.rest.split_to(slice))))
    }
}
