//! A connection's stream, which holds its place in the table while it is open, and what a request
//! can learn of its connection.

use super::table::{Closing, Connections};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream that HTTP reads and writes.
pub(super) struct Socket {
    stream: TcpStream,
    id: u64,
    connections: Arc<Connections>,
    closing: Arc<Closing>,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        id: u64,
        connections: Arc<Connections>,
        closing: Arc<Closing>,
    ) -> Self {
        Socket { stream, id, connections, closing }
    }

    pub(super) fn visitor(&self) -> Visitor {
        let (id, connections) = (self.id, self.connections.clone());
        Visitor { id, connections, known: Cell::new(false) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // After an ordinary close the kernel would keep unread bytes for up to a minute. A
        // connection that lost its place to a newcomer is reset instead, which frees them at once.
        if self.closing.is_asked() {
            let _ = self.stream.set_zero_linger();
        }
        self.connections.gone(self.id);
    }
}

/// The connection of a request (`HttpRequest::conn_data`).
pub struct Visitor {
    id: u64,
    connections: Arc<Connections>,
    known: Cell<bool>,
}

impl Visitor {
    /// Whether an authenticated request has come over this connection.
    pub fn is_known(&self) -> bool {
        self.known.get()
    }

    /// Notes an authenticated request: the connection is no stranger's any more.
    pub fn has_rights(&self) {
        if !self.known.replace(true) {
            self.connections.has_rights(self.id);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
