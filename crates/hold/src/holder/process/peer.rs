//! Connections. One of them is the server's; the others have not said hello yet.
//!
//! If the server's socket is full, at most one message waits, in a buffer that is always allocated,
//! and nothing more is read from that server until it is sent.

use super::token::Token;
use crate::holder::shared::account::{self, Intent};
use crate::holder::shared::{Kept, SharedState};
use crate::holder::socket::{self, Packet, Receiver};
use crate::holder::wire::{self, Kind, MESSAGE_MAX};
use crate::id::SessionId;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{Shutdown, shutdown};
use serde::Serialize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{Relaxed, Release};

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    socket: Kept,
    pub(super) serial: u32,
    /// Whether the next packet is dealt with, except that it is still in the socket.
    pub(super) handled: bool,
    watched: EpollFlags,
    /// Whether nothing more is sent, because that failed. Received messages still count.
    deaf: bool,
    /// Whether the last message was refused for another reason than a full socket.
    short: bool,
    out: Vec<u8>,
    /// The message in `out` waits to be sent, with the descriptors of this session.
    waiting: Option<Option<SessionId>>,
    pub(super) listing: Option<Listing>,
}

/// The position in a page that is being sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    pub(super) request: u32,
    pub(super) after: Option<SessionId>,
    pub(super) left: usize,
}

/// The descriptors of an [`Entry`](wire::Entry): ring, eventfd, and the checkpoint's bytes if there
/// are any.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fds {
    Two([RawFd; 2]),
    Three([RawFd; 3]),
}

impl Fds {
    pub(super) fn as_slice(&self) -> &[RawFd] {
        match self {
            Fds::Two(fds) => fds,
            Fds::Three(fds) => fds,
        }
    }
}

/// The buffer of received packets, one at a time.
#[derive(Debug)]
pub(super) struct Inbox {
    receiver: Receiver,
    pub(super) bytes: Box<[u8]>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Inbox {
            receiver: Receiver::new(),
            bytes: vec![0; MESSAGE_MAX].into_boxed_slice(),
            fds: Vec::with_capacity(socket::FDS_MAX),
        }
    }
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, serial: u32, epoll: &Epoll) -> Result<Self, Errno> {
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, Token::Peer(serial).word()))?;
        Ok(Peer::of(Kept::unrecorded(socket), serial))
    }

    /// The connection that an earlier holder had with the server.
    pub(super) fn restore(socket: Kept, serial: u32, epoll: &Epoll) -> Result<Self, Errno> {
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, Token::Peer(serial).word()))?;
        Ok(Peer::of(socket, serial))
    }

    /// Closes the connection.
    pub(super) fn close(self) {
        self.socket.close();
    }

    fn of(socket: Kept, serial: u32) -> Self {
        let watched = EpollFlags::EPOLLIN;
        Peer {
            socket,
            serial,
            handled: false,
            watched,
            deaf: false,
            short: false,
            out: Vec::with_capacity(MESSAGE_MAX),
            waiting: None,
            listing: None,
        }
    }

    /// The next packet; `None` if there is none now. Its length is 0 once the peer is gone. It stays
    /// in the socket until `take`: a holder that dies before leaves it to its successor.
    pub(super) fn peek(&mut self, inbox: &mut Inbox) -> Option<Packet> {
        loop {
            let socket = self.socket.as_fd();
            match inbox.receiver.peek(socket, &mut inbox.bytes, &mut inbox.fds) {
                Ok(packet) => return Some(packet),
                Err(Errno::EAGAIN) => return None,
                // Reported once, if the peer has gone without reading all our messages. Messages
                // that it had sent before follow.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(_) => return Some(Packet::default()),
            }
        }
    }

    /// Takes the packet that `peek` has returned, which is dealt with.
    pub(super) fn take(&mut self, shared: &SharedState) {
        let words = &shared.header().server;
        let taken = words.taken.load(Relaxed);
        // The kernel counts this read, unlike a recvmsg(2), and drops what does not fit.
        let operation = account::begin(shared, Intent::Take { taken });
        let count = operation.read(&self.socket, &mut [0]).unwrap_or(0);
        if count > 0 {
            words.tries.store(0, Release);
            words.taken.store(taken.saturating_add(1), Release);
        }
        operation.done(count);
        self.handled = false;
    }

    /// Takes the packet of a connection that is not the server's.
    pub(super) fn take_greeting(&mut self, shared: &SharedState) {
        // The peer may be gone.
        let _ = account::read(shared, &self.socket, &mut [0]);
    }

    /// Another descriptor of the connection.
    pub(super) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        let copy = self.socket.as_fd().try_clone_to_owned();
        copy.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    /// The socket as it is recorded, once the connection is the server's.
    pub(super) fn kept(&self) -> &Kept {
        &self.socket
    }

    /// Whether a message waits for something that no event reports, so that it has to be tried
    /// again after a while.
    pub(super) fn is_short(&self) -> bool {
        self.short && self.waiting.is_some()
    }

    /// Whether `send` can take another message.
    pub(super) fn ready(&self) -> bool {
        self.waiting.is_none()
    }

    /// Sends a message, or keeps it until the socket takes it. Call it only when `ready`.
    pub(super) fn send<T: Serialize>(
        &mut self,
        kind: Kind,
        request: u32,
        control: Option<&T>,
        session: Option<(SessionId, &[u8], Fds)>,
    ) {
        if self.deaf || self.waiting.is_some() {
            return;
        }
        let (tail, fds) = match &session {
            Some((_, blob, fds)) => (*blob, fds.as_slice()),
            None => (&[][..], &[][..]),
        };
        // Every message of ours is within the limit.
        if wire::encode(&mut self.out, kind, request, control, tail).is_err() {
            return;
        }
        if self.attempt(fds) == Attempt::Full {
            self.waiting = Some(session.map(|(id, _, _)| id));
        }
    }

    /// The session whose descriptors the waiting message needs.
    pub(super) fn waiting_for(&self) -> Option<SessionId> {
        self.waiting.flatten()
    }

    /// Tries to send the waiting message again.
    pub(super) fn flush(&mut self, fds: &[RawFd]) {
        if self.waiting.is_some() && self.attempt(fds) != Attempt::Full {
            self.waiting = None;
        }
    }

    fn attempt(&mut self, fds: &[RawFd]) -> Attempt {
        self.short = false;
        match socket::send(self.socket.as_fd(), &self.out, fds) {
            Ok(()) => Attempt::Sent,
            Err(Errno::EAGAIN) => Attempt::Full,
            // Too many descriptors are in flight, or memory is short: the peer has to receive some
            // first.
            Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.short = true;
                Attempt::Full
            }
            Err(_) => {
                self.deaf = true;
                self.listing = None;
                Attempt::Broken
            }
        }
    }

    /// Stops receiving, so that what is still to be read has an end.
    pub(super) fn close_in(&mut self) {
        self.deaf = true;
        self.waiting = None;
        self.listing = None;
        // The socket may be closed already.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Read);
    }

    /// Sets the events for which epoll watches the connection.
    pub(super) fn watch(&mut self, epoll: &Epoll) -> Result<(), Errno> {
        let wanted = if self.ready() {
            EpollFlags::EPOLLIN
        } else if self.short {
            // The socket has room all the time, and each refusal would be another event.
            EpollFlags::empty()
        } else {
            EpollFlags::EPOLLOUT
        };
        if wanted != self.watched {
            let mut event = EpollEvent::new(wanted, Token::Peer(self.serial).word());
            epoll.modify(&self.socket, &mut event)?;
            self.watched = wanted;
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Attempt {
    Sent,
    Full,
    Broken,
}
