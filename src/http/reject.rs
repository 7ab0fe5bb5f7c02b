//! A WebSocket that is closed as soon as it is open: browsers cannot see HTTP errors.

use crate::protocol::{CloseCode, ServerMessage};
use crate::session::{Dialect, Frames, close_frames};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpResponse, HttpResponseBuilder, rt};
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::time::Duration;

/// The longest that the client may take to answer the close frame.
const LINGER: Duration = Duration::from_secs(2);

/// Why a client was not attached.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The close code, which says whether to retry.
    pub(super) close: CloseCode,
    /// A message before the close frame, if there is more to say.
    pub(super) error: Option<ServerMessage>,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(close: CloseCode, reason: impl Into<String>) -> Self {
        Refusal { close, error: None, reason: reason.into() }
    }

    /// Adds an error message with a stable code before the close frame.
    pub(super) fn because(mut self, code: &str) -> Self {
        let message = self.reason.clone();
        self.error = Some(ServerMessage::Error { code: code.to_owned(), message });
        self
    }

    /// The upgraded response that sends them, then waits until the client closes or hangs up:
    /// closing with unread bytes would make the kernel discard the reason.
    pub(super) fn respond(
        self,
        mut response: HttpResponseBuilder,
        dialect: Dialect,
        payload: Payload,
    ) -> HttpResponse {
        let frames = close_frames(dialect, self.error.as_ref(), self.close, &self.reason);
        let hang_up = async move {
            let _ = rt::time::timeout(LINGER, Frames::new(payload).drain()).await;
        };
        let body = stream::once(async { Some(frames) })
            .chain(stream::once(async {
                hang_up.await;
                None
            }))
            .filter_map(|bytes: Option<Bytes>| async { bytes.map(Ok::<_, Infallible>) });
        response.streaming(Box::pin(body))
    }
}
