//! The event loop, and the connections that it serves.

use super::peer::{Inbox, Listing, Peer};
use super::requests::{self, Answer, Reach};
use super::sessions::Sessions;
use super::shutdown::Shutdown;
use super::token::{SlotKey, Token};
use super::{sys, tell};
use crate::holder::fork_server::ForkServer;
use crate::holder::socket::{self, Packet};
use crate::holder::wire::{self, Failure, FailureCode, Hello, Kind, Message, PAGE_MAX, Stats};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Events taken at once. The others wait in the kernel's queue, which keeps them in turn.
const EVENTS: usize = 64;
/// Messages read from the server before the terminals have their turn.
const BATCH: usize = 64;
/// The most connections that have not said hello. More would be a client's mistake.
const GREETING_MAX: usize = 16;
/// Milliseconds after which a connection is tried again for which there was no descriptor, because
/// no event reports a free one.
const CROWDED: u8 = 100;

pub(super) struct EventLoop {
    epoll: Epoll,
    signals: SignalFd,
    listener: OwnedFd,
    sessions: Sessions,
    server: Option<Peer>,
    greeting: Vec<Peer>,
    serial: u32,
    /// Whether a connection waits for which there was no descriptor.
    crowded: bool,
    inbox: Inbox,
    stats: Stats,
    shutdown: Option<Shutdown>,
    /// The limit of open files before it was raised, which is for the sessions.
    open_files: u64,
    forks: ForkServer,
}

impl EventLoop {
    pub(super) fn new(
        signals: SignalFd,
        listener: OwnedFd,
        open_files: u64,
        forks: ForkServer,
    ) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, Token::Signals.word()))?;
        // Edge-triggered: a connection that cannot be accepted for lack of descriptors must not
        // keep the loop spinning.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&listener, EpollEvent::new(edge, Token::Listener.word()))?;
        Ok(EventLoop {
            epoll,
            signals,
            listener,
            sessions: Sessions::default(),
            server: None,
            greeting: Vec::new(),
            serial: 0,
            crowded: false,
            inbox: Inbox::new(),
            stats: Stats::default(),
            shutdown: None,
            open_files,
            forks,
        })
    }

    /// Runs until SIGTERM has ended everything.
    pub(super) fn run(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.ended() {
            let count = self.epoll.wait(&mut events, self.timeout()).unwrap_or(0);
            let events = events.get(..count).unwrap_or_default();
            let tokens = || events.iter().filter_map(|event| Token::of(event.data()));
            // Handle keystrokes before floods of output.
            for token in tokens() {
                match token {
                    Token::Signals => self.contained(None, EventLoop::signalled),
                    Token::Listener => self.contained(None, EventLoop::accept),
                    Token::Peer(serial) => self.contained(None, |all| all.peer_event(serial)),
                    Token::Report(key) => self.contained(Some(key), |all| all.sessions.hear(key)),
                    Token::Terminal(_) => {}
                }
            }
            let unreported = self.sessions.take_unreported();
            for token in tokens() {
                if let Token::Terminal(key) = token {
                    self.terminal(key);
                    if count > 1 {
                        self.hasten();
                    }
                }
            }
            self.sessions.report(unreported);
            if self.crowded {
                self.contained(None, EventLoop::accept);
            }
            self.drain();
            self.contained(None, EventLoop::tell);
            self.contained(None, |all| all.shutdown.iter_mut().for_each(Shutdown::advance));
        }
    }

    /// Runs `deed` about one session, or about the server if `about` is `None`. No panic is known.
    /// If there is one, it costs the session (whose program waits from then on, as for a full
    /// terminal) or the connection (and the next server asks for everything), and nothing else.
    fn contained(&mut self, about: Option<SlotKey>, deed: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| deed(self))).is_ok() {
            return;
        }
        self.stats.panics = self.stats.panics.saturating_add(1);
        // The panic may have happened while parts of it were taken out.
        self.inbox = Inbox::new();
        if !about.is_some_and(|key| self.sessions.give_up(key, &self.epoll)) {
            self.server = None;
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if self.sessions.are_busy() {
            return EpollTimeout::ZERO;
        }
        match &self.shutdown {
            Some(shutdown) => shutdown.timeout(),
            None if self.crowded || self.server.as_ref().is_some_and(Peer::is_short) => {
                EpollTimeout::from(CROWDED)
            }
            None => EpollTimeout::NONE,
        }
    }

    fn ended(&self) -> bool {
        self.shutdown.as_ref().is_some_and(|shutdown| shutdown.is_over(self.sessions.are_drained()))
    }

    fn terminal(&mut self, key: SlotKey) {
        self.contained(Some(key), |all| all.sessions.turn(key, &all.epoll));
    }

    /// Handles, between the turns of two terminals, what must not wait until all flooding terminals
    /// have had theirs: requests, and the echo of recent keystrokes.
    fn hasten(&mut self) {
        self.contained(None, EventLoop::serve);
        if let Some(key) = self.sessions.echoing() {
            self.terminal(key);
        }
    }

    fn drain(&mut self) {
        let mut index = 0;
        while let Some(key) = self.sessions.draining_at(index) {
            self.contained(Some(key), |all| all.sessions.drain(key, &all.epoll));
            index = self.sessions.after_draining(index);
        }
    }

    fn signalled(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(signal) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => {
                    self.shutdown.get_or_insert_with(Shutdown::begin);
                }
                // The kernel merges SIGCHLDs, so one stands for any number.
                _ => self.reap(),
            }
        }
    }

    /// Reaps every child that has exited: leaders, and processes that they have left to us.
    fn reap(&mut self) {
        while let Some((pid, exit)) = sys::reap_one() {
            self.contained(None, |all| {
                if !all.sessions.reaped(pid, exit, &all.epoll) {
                    all.stats.orphans_reaped = all.stats.orphans_reaped.saturating_add(1);
                }
            });
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match socket::accept(self.listener.as_fd()) {
                Ok(socket) => socket,
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(errno) => {
                    // Without a free descriptor the kernel reports EMFILE even if no connection
                    // waits.
                    let listener = self.listener.as_fd();
                    self.crowded = errno != Errno::EAGAIN && socket::readable(listener);
                    // Connections that have sent nothing make room for another.
                    if self.crowded && !self.greeting.is_empty() {
                        self.greeting.remove(0);
                        continue;
                    }
                    return;
                }
            };
            if !socket::peer_is_us(socket.as_fd()) {
                self.stats.refused = self.stats.refused.saturating_add(1);
                continue;
            }
            self.serial = self.serial.wrapping_add(1);
            if self.greeting.len() >= GREETING_MAX {
                self.greeting.remove(0);
            }
            if let Ok(peer) = Peer::new(socket, self.serial, &self.epoll) {
                self.greeting.push(peer);
            }
        }
    }

    fn peer_event(&mut self, serial: u32) {
        if self.server.as_ref().is_some_and(|server| server.serial == serial) {
            self.serve();
        } else if let Some(index) = self.greeting.iter().position(|peer| peer.serial == serial) {
            let peer = self.greeting.swap_remove(index);
            self.greet(peer);
        }
    }

    /// Reads from the server as long as its answers can be sent.
    fn serve(&mut self) {
        for _ in 0..BATCH {
            self.tell();
            let Some(server) = &mut self.server else { return };
            if !server.ready() || server.listing.is_some() {
                return;
            }
            let Some(packet) = server.receive(&mut self.inbox) else { return };
            if packet.length == 0 {
                self.server = None;
                return;
            }
            self.handle(&packet);
        }
    }

    /// Reads the first message of a connection.
    fn greet(&mut self, mut peer: Peer) {
        let Some(packet) = peer.receive(&mut self.inbox) else {
            self.greeting.push(peer);
            return;
        };
        let bytes = self.inbox.bytes.get(..packet.length).unwrap_or_default();
        let Ok(message) = Message::parse(bytes) else {
            // The peer is gone, or does not speak our protocol.
            self.malformed(packet.length > 0);
            return;
        };
        let request = message.request;
        let hello = message.control::<Hello>().ok();
        let Some(hello) = hello.filter(|_| message.kind == Kind::Hello as u8) else {
            self.malformed(true);
            let failure = Failure::invalid("hello has to come first");
            peer.send(Kind::Failed, request, Some(&failure), None);
            return;
        };
        if hello.major != wire::MAJOR {
            self.stats.refused = self.stats.refused.saturating_add(1);
            peer.send(Kind::Failed, request, Some(&Failure::version()), None);
            // The peer may read the refusal later.
            self.greeting.push(peer);
            return;
        }
        self.replace_server();
        peer.send(Kind::Hello, request, Some(&Hello::ours()), None);
        self.server = Some(peer);
    }

    /// Accepts everything that the previous server had sent, and closes its connection.
    fn replace_server(&mut self) {
        if let Some(server) = &mut self.server {
            server.close_in();
            while let Some(server) = &mut self.server
                && let Some(packet) = server.receive(&mut self.inbox)
                && packet.length > 0
            {
                self.handle(&packet);
            }
        }
        self.server = None;
        self.sessions.forget_requests();
    }

    fn malformed(&mut self, really: bool) {
        self.stats.malformed = self.stats.malformed.saturating_add(u64::from(really));
    }

    /// Performs the request in the inbox.
    fn handle(&mut self, packet: &Packet) {
        // Taken out so that the message can be borrowed while sessions change.
        let bytes = std::mem::take(&mut self.inbox.bytes);
        let message = Message::parse(bytes.get(..packet.length).unwrap_or_default());
        if let Ok(message) = message {
            let request = message.request;
            let answer = if packet.truncated {
                Err(Failure::invalid("message too long"))
            } else if packet.lost {
                Err(Failure::no_files())
            } else {
                self.perform(&message)
            };
            match answer {
                Ok(Answer::Done) => self.answer(Kind::Done, request, None::<&()>),
                Ok(Answer::Stats(stats)) => self.answer(Kind::Stats, request, Some(&stats)),
                Ok(Answer::Page(after)) => {
                    if let Some(server) = &mut self.server {
                        server.listing = Some(Listing { request, after, left: PAGE_MAX });
                    }
                }
                Ok(Answer::Later) => {}
                Err(failure) => {
                    self.malformed(failure.code == FailureCode::Invalid);
                    self.answer(Kind::Failed, request, Some(&failure));
                }
            }
        } else {
            self.malformed(true);
        }
        self.inbox.bytes = bytes;
        // Close the descriptors that came with it and were not taken.
        self.inbox.fds.clear();
    }

    fn perform(&mut self, message: &Message<'_>) -> Result<Answer, Failure> {
        let mut reach = Reach {
            sessions: &mut self.sessions,
            stats: &mut self.stats,
            epoll: &self.epoll,
            fds: &mut self.inbox.fds,
            open_files: self.open_files,
            forks: &mut self.forks,
            shutting_down: self.shutdown.is_some(),
        };
        requests::perform(&mut reach, message)
    }

    fn answer<T: serde::Serialize>(&mut self, kind: Kind, request: u32, control: Option<&T>) {
        if request != 0
            && let Some(server) = &mut self.server
        {
            server.send(kind, request, control, None);
        }
    }

    /// Sends the server its notices, as far as its socket takes them.
    fn tell(&mut self) {
        let Some(server) = &mut self.server else {
            // The next server asks for the state itself.
            self.sessions.due = false;
            return;
        };
        tell::tell(server, &mut self.sessions);
        if server.watch(&self.epoll).is_err() {
            // Nothing could be received from it any more.
            self.server = None;
        }
    }
}

#[cfg(test)]
#[path = "event_loop_tests.rs"]
mod tests;
