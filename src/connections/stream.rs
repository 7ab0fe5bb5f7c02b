//! The stream under HTTP: plain TCP, TLS on it, a unix stream, or one through the fleet. Only a match stands
//! between HTTP and the kernel where there is no TLS.

use crate::relay::RelayStream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// An open connection's stream.
pub(super) enum Stream {
    /// TCP as it is.
    Tcp(TcpStream),
    /// TLS whose handshake is done; boxed, since its state is large and the others' is not.
    Tls(Box<TlsStream<TcpStream>>),
    /// A process of this machine.
    Unix(UnixStream),
    /// Another machine of the fleet, for one of its clients.
    Relay(Box<RelayStream>),
}

impl Stream {
    /// Has the kernel discard what is unread once the stream is closed, and reset the peer.
    pub(super) fn reset_on_close(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.set_zero_linger(),
            Stream::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            // Closing these discards what is unread.
            Stream::Unix(_) | Stream::Relay(_) => Ok(()),
        };
    }
}

/// Does the same with whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $does:expr) => {
        match &mut *$self {
            Stream::Tcp($stream) => $does,
            Stream::Tls($stream) => $does,
            Stream::Unix($stream) => $does,
            Stream::Relay($stream) => $does,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(context))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Relay(stream) => stream.is_write_vectored(),
        }
    }
}
