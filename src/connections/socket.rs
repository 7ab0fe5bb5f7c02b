//! A connection's stream, which holds its place in the table while it is open, and what a request
//! can learn of its connection.

use super::stream::Stream;
use super::table::{Admitted, Closing, Connections, TooManyConnections};
use crate::relay::RelayStream;
use crate::rights::{Kind, Pass, Principal, Visit};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody at this address.
    Tcp(SocketAddr),
    /// A process of this machine, on the unix socket.
    Local {
        /// Its process id when it connected; 0: none that can be seen from here.
        pid: i32,
        /// Its user, which is the server's own, or root.
        uid: u32,
    },
    /// Another machine of the fleet, which passes on what one of its clients asks.
    Fleet,
}

/// A connection's place in the table, which it has until this is dropped.
pub(super) struct Place {
    id: u64,
    connections: Arc<Connections>,
    known: Arc<AtomicBool>,
    pub(super) closing: Arc<Closing>,
}

impl Place {
    pub(super) fn new(connections: &Arc<Connections>, admitted: Admitted) -> Place {
        let Admitted { id, known, closing } = admitted;
        Place { id, connections: connections.clone(), known, closing }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.gone(self.id);
    }
}

/// Tells when the peer of a connection has closed it, or its side of it: it sends nothing more, and most
/// read nothing more. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub struct HangUp(Arc<HungUp>);

#[derive(Debug, Default)]
struct HungUp {
    has: AtomicBool,
    news: Notify,
}

impl HangUp {
    /// Resolves once the peer has.
    pub async fn wait(&self) {
        let mut news = pin!(self.0.news.notified());
        // Registered first, so that nothing is missed between the look and the wait.
        news.as_mut().enable();
        if !self.0.has.load(Ordering::SeqCst) {
            news.await;
        }
    }

    fn tell(&self) {
        self.0.has.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }
}

/// The stream that HTTP reads and writes.
pub(super) struct Socket {
    stream: Stream,
    hang_up: HangUp,
    peer: Peer,
    process: Option<Arc<OwnedFd>>,
    visit: Option<Arc<Visit>>,
    // Dropped after the stream: the place is free once the descriptor is.
    place: Place,
}

impl Socket {
    /// `process` is a descriptor of a local peer.
    pub(super) fn new(stream: Stream, peer: Peer, process: Option<OwnedFd>, place: Place) -> Self {
        let hang_up = HangUp::default();
        let process = process.map(Arc::new);
        Socket { stream, hang_up, peer, process, visit: None, place }
    }

    /// A stream of another machine, which has authenticated whom it is for.
    pub(super) fn relayed(stream: RelayStream, visit: Visit, place: Place) -> Self {
        let stream = Stream::Relay(Box::new(stream));
        let mut socket = Socket::new(stream, Peer::Fleet, None, place);
        socket.visit = Some(Arc::new(visit));
        socket
    }

    pub(super) fn visitor(&self) -> Visitor {
        Visitor {
            id: self.place.id,
            connections: self.place.connections.clone(),
            known: self.place.known.clone(),
            pass: Cell::new(None),
            peer: self.peer,
            process: self.process.clone(),
            visit: self.visit.clone(),
            hang_up: self.hang_up.clone(),
            vouched: Cell::new(false),
            is_encrypted: matches!(self.stream, Stream::Tls(_)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // After an ordinary close the kernel would keep unread bytes for up to a minute. A
        // connection that lost its place to a newcomer is reset instead, which frees them at once.
        if self.place.closing.is_asked() {
            self.stream.reset_on_close();
        }
    }
}

/// The connection of a request (`HttpRequest::conn_data`).
pub struct Visitor {
    id: u64,
    connections: Arc<Connections>,
    known: Arc<AtomicBool>,
    /// That of the last authenticated request.
    pass: Cell<Option<Pass>>,
    peer: Peer,
    process: Option<Arc<OwnedFd>>,
    visit: Option<Arc<Visit>>,
    hang_up: HangUp,
    vouched: Cell<bool>,
    is_encrypted: bool,
}

impl Visitor {
    /// Whether an authenticated request has come over this connection, with what has not ended since.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Notes an authenticated request: the connection is no stranger's until the pass ends, and counts
    /// for the principal, unless that is the owner on the unix socket, who must always get in.
    ///
    /// # Errors
    /// The principal has too many connections, and this one stays a stranger's.
    pub fn has_rights(&self, principal: &Principal, pass: Pass) -> Result<(), TooManyConnections> {
        if self.is_known() && self.pass.get() == Some(pass) {
            return Ok(());
        }
        let is_local = matches!(self.peer, Peer::Local { .. });
        let is_counted = !(is_local && principal.kind == Kind::Owner);
        let counted = is_counted.then(|| principal.places_key());
        self.connections.has_rights(self.id, counted.as_deref(), pass)?;
        self.pass.set(Some(pass));
        Ok(())
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// A pidfd of the process at the other end of a unix stream, opened when it connected; `None`
    /// on TCP, and where there was no such process any more.
    #[must_use]
    pub fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_deref().map(OwnedFd::as_fd)
    }

    /// Whom another machine passes the requests on for; `None`: the client itself is at the other end.
    #[must_use]
    pub fn visit(&self) -> Option<&Visit> {
        self.visit.as_deref()
    }

    /// Whether the process at the other end was found to be the owner's before.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.vouched.get()
    }

    /// Notes that it is.
    pub fn vouch(&self) {
        self.vouched.set(true);
    }

    /// When the peer hangs up.
    #[must_use]
    pub fn hang_up(&self) -> HangUp {
        self.hang_up.clone()
    }

    /// Whether the connection has TLS that ends in this server.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let over = match &read {
            Poll::Ready(Ok(())) => room > 0 && buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if over {
            self.hang_up.tell();
        }
        read
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
