//! A WebSocket whose other end is on another machine: its bytes pass both ways as they are.

use crate::http::lease::Lease;
use crate::relay::{RelayStream, Revoker};
use actix_web::dev::Payload;
use actix_web::rt;
use actix_web::web::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Bytes that are handed to the client at a time.
const PIECE: usize = 32 << 10;
/// How long the other machine has to close a WebSocket whose token or login has ended.
const CLOSE: Duration = Duration::from_secs(3);

/// What goes to the client. While it lives, what comes from the client is passed on.
pub(super) struct Tunnel {
    first: Bytes,
    from: ReadHalf<RelayStream>,
    space: BytesMut,
    passing: JoinHandle<()>,
    leased: JoinHandle<()>,
    cut: tokio::sync::oneshot::Receiver<()>,
}

impl Tunnel {
    pub(super) fn new(stream: RelayStream, first: Bytes, client: Payload, lease: Lease) -> Tunnel {
        let revoker = stream.revoker();
        let (from, to) = split(stream);
        let passing = rt::spawn(pass(client, to));
        let (tell, cut) = tokio::sync::oneshot::channel();
        let leased = rt::spawn(end_with(lease, revoker, tell));
        Tunnel { first, from, space: BytesMut::new(), passing, leased, cut }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.passing.abort();
        self.leased.abort();
    }
}

impl Stream for Tunnel {
    type Item = io::Result<Bytes>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        if let Poll::Ready(Ok(())) = Pin::new(&mut this.cut).poll(context) {
            return Poll::Ready(None);
        }
        this.space.resize(PIECE, 0);
        let mut buffer = ReadBuf::new(&mut this.space);
        let read = Pin::new(&mut this.from).poll_read(context, &mut buffer);
        let length = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len(),
            _ => 0,
        };
        if read.is_pending() {
            // An idle WebSocket keeps no room.
            this.space = BytesMut::new();
        }
        ready!(read)?;
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = this.space.split_to(length);
        Poll::Ready(Some(Ok(piece.freeze())))
    }
}

/// Passes on what the client sends, and its end.
async fn pass(mut client: Payload, mut to: WriteHalf<RelayStream>) {
    while let Some(Ok(piece)) = client.next().await {
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Has the other machine close the WebSocket when the token or login has ended, which it does with a code that
/// says so; if it does not, the connection is cut.
async fn end_with(lease: Lease, revoker: Revoker, cut: tokio::sync::oneshot::Sender<()>) {
    lease.ended().await;
    revoker.revoke();
    sleep(CLOSE).await;
    let _ = cut.send(());
}
