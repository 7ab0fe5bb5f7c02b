//! The connection: requests matched with replies, an ordered backlog of messages that the socket
//! does not take at once, and the two tasks that read and write it.

use super::error::HolderError;
use super::session::Notice;
use crate::holder::socket::{self, Receiver};
use crate::holder::wire::{self, Failure, FailureCode, Kind, MESSAGE_MAX, Message};
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The holder answers at once; after this time it counts as stopped or gone.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// A connection. The handles own it: when the last one is dropped, it closes and its tasks end.
#[derive(Debug)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: AsyncFd<OwnedFd>,
    backlog: Mutex<VecDeque<Outgoing>>,
    stuck: Notify,
    /// The senders of replies, by the number of the request; `None` once the connection is broken.
    waiting: Mutex<Option<HashMap<u32, UnboundedSender<Reply>>>>,
    next: AtomicU32,
    /// What the holder has said of itself last.
    peer: Mutex<wire::Hello>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    fd: Option<OwnedFd>,
}

/// A reply of the holder.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) kind: Kind,
    json: Vec<u8>,
    pub(super) tail: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Reply {
    pub(super) fn control<T: DeserializeOwned>(&self) -> Result<T, HolderError> {
        serde_json::from_slice(&self.json).map_err(|error| HolderError::Answer(error.to_string()))
    }

    /// The failure that a reply reports in place of a result.
    pub(super) fn failure(&self) -> Failure {
        match self.kind {
            Kind::Failed => self.control().unwrap_or_default(),
            kind => {
                Failure { message: format!("unexpected answer {kind:?}"), ..Failure::default() }
            }
        }
    }
}

/// Waits for a reply that arrives at once unless the holder is gone.
pub(super) async fn within(
    reply: impl Future<Output = Result<Reply, HolderError>>,
) -> Result<Reply, HolderError> {
    tokio::time::timeout(REPLY_DEADLINE, reply).await.map_err(|_| HolderError::Timeout)?
}

/// The replies to one request. Dropping it forgets the request.
#[derive(Debug)]
pub(super) struct Replies {
    shared: Arc<Shared>,
    request: u32,
    receiver: UnboundedReceiver<Reply>,
}

impl Replies {
    pub(super) async fn next(&mut self) -> Result<Reply, HolderError> {
        self.receiver.recv().await.ok_or(HolderError::Gone)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if let Some(waiting) = lock(&self.shared.waiting).as_mut() {
            waiting.remove(&self.request);
        }
    }
}

impl Link {
    /// Takes over a connected socket. Its tasks run on the current runtime.
    pub(super) fn open(socket: OwnedFd) -> Result<(Self, UnboundedReceiver<Notice>), HolderError> {
        // Do not register for writing: each message that the holder takes would wake us.
        let socket = socket::register(socket, Interest::READABLE)
            .map_err(|error| HolderError::Request(error.to_string()))?;
        let shared = Arc::new(Shared {
            socket,
            backlog: Mutex::default(),
            stuck: Notify::new(),
            waiting: Mutex::new(Some(HashMap::new())),
            next: AtomicU32::new(1),
            peer: Mutex::new(wire::Hello::ours()),
        });
        let (sender, notices) = unbounded_channel();
        let reader = Arc::clone(&shared);
        let writer = Arc::clone(&shared);
        tokio::spawn(async move {
            tokio::select! {
                () = read(&reader, &sender) => {}
                () = write(&writer) => {}
            }
            // Dropping the senders wakes everyone who waits for a reply.
            *lock(&reader.waiting) = None;
            lock(&reader.backlog).clear();
            // During a shutdown nobody may be listening.
            let _ = sender.send(Notice::Gone);
        });
        Ok((Link(shared), notices))
    }

    /// Notes what the holder says of itself.
    pub(super) fn introduce(&self, hello: wire::Hello) {
        *lock(&self.0.peer) = hello;
    }

    /// What the holder has said of itself last.
    pub(super) fn peer(&self) -> wire::Hello {
        lock(&self.0.peer).clone()
    }

    /// Sends a message that is not answered.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        self.0.send(Outgoing { bytes, fd: None });
    }

    /// Sends a request.
    pub(super) fn ask<T: Serialize>(
        &self,
        kind: Kind,
        control: Option<&T>,
        tail: &[u8],
        fd: Option<OwnedFd>,
    ) -> Result<Replies, HolderError> {
        // 0 is the number of messages without a reply.
        let request = match self.0.next.fetch_add(1, Ordering::Relaxed) {
            0 => self.0.next.fetch_add(1, Ordering::Relaxed),
            request => request,
        };
        let mut bytes = Vec::with_capacity(256);
        wire::encode(&mut bytes, kind, request, control, tail)
            .map_err(|error| HolderError::Request(error.to_string()))?;
        let (sender, receiver) = unbounded_channel();
        lock(&self.0.waiting).as_mut().ok_or(HolderError::Gone)?.insert(request, sender);
        let replies = Replies { shared: Arc::clone(&self.0), request, receiver };
        self.0.send(Outgoing { bytes, fd });
        Ok(replies)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The tasks own the descriptor, and this ends them. An error means that they have ended
        // already.
        let _ = shutdown(self.0.socket.as_raw_fd(), Shutdown::Both);
    }
}

impl Shared {
    fn send(&self, message: Outgoing) {
        let mut backlog = lock(&self.backlog);
        if backlog.is_empty() && self.try_send(&message) {
            return;
        }
        backlog.push_back(message);
        self.stuck.notify_one();
    }

    /// Returns false if the socket is full. The reading task sees any other failure, too.
    fn try_send(&self, message: &Outgoing) -> bool {
        let fds = message.fd.as_ref().map(socket::raw);
        let sent = socket::send(self.socket.get_ref().as_fd(), &message.bytes, fds.as_slice());
        !matches!(sent, Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::ETOOMANYREFS))
    }

    /// A descriptor that becomes ready when the socket has room.
    fn room(&self) -> io::Result<AsyncFd<OwnedFd>> {
        socket::register(self.socket.get_ref().try_clone()?, Interest::WRITABLE)
    }

    fn flush(&self) -> bool {
        let mut backlog = lock(&self.backlog);
        while let Some(message) = backlog.front() {
            if !self.try_send(message) {
                return false;
            }
            backlog.pop_front();
        }
        true
    }
}

async fn write(shared: &Shared) {
    loop {
        shared.stuck.notified().await;
        let Ok(room) = shared.room() else { return };
        loop {
            let Ok(mut ready) = room.writable().await else { return };
            if shared.flush() {
                break;
            }
            ready.clear_ready();
        }
    }
}

async fn read(shared: &Shared, notices: &UnboundedSender<Notice>) {
    let mut receiver = Receiver::new();
    let mut buffer = vec![0; MESSAGE_MAX];
    let mut fds = Vec::new();
    loop {
        let Ok(mut ready) = shared.socket.readable().await else { return };
        loop {
            let socket = shared.socket.get_ref().as_fd();
            match receiver.receive(socket, &mut buffer, &mut fds) {
                Ok(packet) if packet.length == 0 => return,
                // A reply without its descriptors is unusable; the code that uses it reports that.
                Ok(packet) => {
                    let bytes = buffer.get(..packet.length).unwrap_or_default();
                    dispatch(shared, notices, bytes, std::mem::take(&mut fds));
                }
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // A reset is reported once, before the messages that the holder had sent until
                // then.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(_) => return,
            }
        }
    }
}

fn dispatch(shared: &Shared, notices: &UnboundedSender<Notice>, bytes: &[u8], fds: Vec<OwnedFd>) {
    let Ok(message) = Message::parse(bytes) else { return };
    // A newer holder may send messages that we do not know.
    let Some(kind) = Kind::from_byte(message.kind) else { return };
    if message.request == 0 && kind == Kind::Hello {
        // A holder has died, and another one continues this connection.
        if let Ok(hello) = message.control::<wire::Hello>() {
            let pid = hello.pid;
            let mut peer = lock(&shared.peer);
            let gaps = hello.gaps.saturating_sub(peer.gaps);
            *peer = hello;
            let _ = notices.send(Notice::TakenOver { pid, gaps });
        }
        return;
    }
    if message.request == 0 {
        let Ok(target) = message.control::<wire::Target>() else { return };
        let notice = match kind {
            Kind::Output => Notice::Output(target.id),
            Kind::Exited => Notice::Exited(target.id),
            _ => return,
        };
        // During a shutdown nobody may be listening.
        let _ = notices.send(notice);
        return;
    }
    let reply = Reply { kind, json: message.json.to_vec(), tail: message.tail.to_vec(), fds };
    if let Some(sender) = lock(&shared.waiting).as_ref().and_then(|all| all.get(&message.request)) {
        // The caller may have stopped waiting.
        let _ = sender.send(reply);
    }
}

/// Locks, and ignores poisoning: a panic elsewhere leaves these collections whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the holder has refused our version, for the handshake.
pub(super) fn version_refused(reply: &Reply) -> bool {
    reply.kind == Kind::Failed
        && reply
            .control::<wire::Failure>()
            .is_ok_and(|failure| failure.code == FailureCode::Version)
}
