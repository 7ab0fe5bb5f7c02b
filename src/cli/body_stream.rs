//! The body of an HTTP response, received piece by piece.

use super::failure::Failure;
use awc::ClientResponse;
use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// The server sends something every 15 s. After this silence it counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);

pub(super) struct Pieces {
    /// The length in bytes, if the server has sent it.
    pub(super) length: Option<u64>,
    body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
}

impl Pieces {
    pub(super) fn of<S>(body: ClientResponse<S>) -> Self
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
    {
        let length = body.headers().get("Content-Length");
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Pieces { length, body: Box::pin(body) }
    }

    /// The next piece; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let broke_off = |e| Failure::Unreachable(format!("the server's answer broke off: {e}"));
        let away = |_| Failure::Unreachable("the server has stopped sending its answer".into());
        let piece = timeout(SILENCE_MAX, self.body.next()).await.map_err(away)?;
        piece.transpose().map_err(broke_off)
    }
}
