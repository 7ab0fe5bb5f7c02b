//! The event loop, and the connections that it serves.

use super::peer::{Inbox, Listing, Peer};
use super::reaping;
use super::requests::{self, Answer, Reach};
use super::sessions::Sessions;
use super::shutdown::{Descendants, Shutdown};
use super::token::{SlotKey, Token};
use super::{tell, upgrade};
use crate::holder::fork_server::ForkServer;
use crate::holder::shared::journal::{self, Stores};
use crate::holder::shared::{Kept, LAYOUT, SharedState, StatsWords, account, kept};
use crate::holder::socket::{self, Packet};
use crate::holder::wire::{self, Failure, FailureCode, Hello, Kind, Message, PAGE_MAX, Upgrade};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Events taken at once. The others wait in the kernel's queue, which keeps them in turn.
const EVENTS: usize = 64;
/// Messages read from the server before the terminals have their turn.
const BATCH: usize = 64;
/// The most connections that have not said hello. More would be a client's mistake.
const GREETING_MAX: usize = 16;
/// Milliseconds after which a connection is tried again for which there was no descriptor, because
/// no event reports a free one. An exit that another process has to tell is asked for as often.
const CROWDED: u8 = 100;
/// How often a request of the server is begun. One that ends every holder must not do so for ever;
/// one at which somebody kills them again and again is performed all the same.
const TRIES: u64 = 20;
/// Bytes of one record of a signalfd, of which some are read at once.
const SIGNAL: usize = size_of::<libc::signalfd_siginfo>();

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything has ended, as SIGTERM asked for.
    Ended,
    /// The guardian is dead: this process has to be the guardian of another holder.
    Orphaned,
    /// Another program replaces this one.
    Replaced,
}

pub(super) struct EventLoop {
    shared: Arc<SharedState>,
    epoll: Epoll,
    signals: SignalFd,
    listener: Kept,
    sessions: Sessions,
    server: Option<Peer>,
    greeting: Vec<Peer>,
    serial: u32,
    /// Whether a connection waits for which there was no descriptor.
    crowded: bool,
    inbox: Inbox,
    shutdown: Option<Shutdown>,
    forks: ForkServer,
    /// Why the loop has to end.
    outcome: Option<Outcome>,
}

impl EventLoop {
    /// The loop of a holder that continues what the shared state says. That may be nothing.
    pub(super) fn restore(shared: &Arc<SharedState>, signals: SignalFd) -> Result<Self, Errno> {
        let fds = &shared.header().fds;
        let listener = Kept::of(&fds.listener).ok_or(Errno::EBADF)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, Token::Signals.word()))?;
        // Edge-triggered: a connection that cannot be accepted for lack of descriptors must not
        // keep the loop spinning.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&listener, EpollEvent::new(edge, Token::Listener.word()))?;
        for (fd, token) in [(&fds.poke, Token::Poke), (&fds.guardian, Token::Guardian)] {
            if let Some(fd) = kept::borrow(fd) {
                epoll.add(fd, EpollEvent::new(edge, token.word()))?;
            }
        }
        let (mut sessions, lost) = Sessions::restore(shared, &epoll);
        shared.header().stats.gaps.fetch_add(lost, Relaxed);
        sessions.collect_exits(&epoll);
        let mut event_loop = EventLoop {
            shared: Arc::clone(shared),
            epoll,
            signals,
            listener,
            sessions,
            server: None,
            greeting: Vec::new(),
            serial: 0,
            crowded: false,
            inbox: Inbox::new(),
            shutdown: None,
            forks: ForkServer::default(),
            outcome: None,
        };
        // If that fails, the first session's start tries again, and says why.
        let _ = event_loop.forks.start();
        event_loop.restore_server()?;
        event_loop.answer_upgrader();
        if shared.header().ending.load(Relaxed) != 0 {
            event_loop.begin_shutdown();
        }
        Ok(event_loop)
    }

    /// Continues the connection of an earlier holder with the server, which is told who speaks now.
    fn restore_server(&mut self) -> Result<(), Errno> {
        let Some(socket) = Kept::of(&self.shared.header().fds.server) else { return Ok(()) };
        self.serial = self.serial.wrapping_add(1);
        let mut server = Peer::restore(socket, self.serial, &self.epoll)?;
        server.send(Kind::Hello, 0, Some(&self.hello()), None);
        self.server = Some(server);
        Ok(())
    }

    /// Tells whoever has asked for an upgrade what has become of it.
    fn answer_upgrader(&mut self) {
        let Some((socket, upgraded)) = upgrade::upgrader(&self.shared) else { return };
        self.serial = self.serial.wrapping_add(1);
        // If it cannot be told, it is gone.
        let Ok(mut peer) = Peer::restore(socket, self.serial, &self.epoll) else { return };
        if upgraded {
            peer.send(Kind::Hello, 1, Some(&self.hello()), None);
        } else {
            peer.send(Kind::Failed, 1, Some(&Failure::not_upgraded()), None);
        }
        peer.close();
    }

    /// Another program is to hold the sessions. It is asked for in place of a hello.
    fn upgrade(&mut self, mut peer: Peer, wanted: Option<Upgrade>, program: Option<OwnedFd>) {
        let refusal = match (wanted, program) {
            (Some(wanted), Some(program)) if wanted.layouts.contains(&LAYOUT) => {
                let prepared = peer
                    .duplicate()
                    .map(|upgrader| upgrade::prepare(&self.shared, program, upgrader));
                match prepared {
                    Ok(true) => None,
                    Ok(false) => Some(Failure::upgrading()),
                    Err(errno) => Some(Failure::os(errno)),
                }
            }
            (Some(_), Some(_)) => Some(Failure::unknown_layout(LAYOUT)),
            _ => Some(Failure::invalid("an upgrade needs a program")),
        };
        peer.take_greeting(&self.shared);
        match refusal {
            None => self.outcome = Some(Outcome::Replaced),
            Some(failure) => {
                peer.send(Kind::Failed, 1, Some(&failure), None);
            }
        }
        peer.close();
    }

    fn hello(&self) -> Hello {
        let header = self.shared.header();
        let guardian = i32::try_from(header.guardian.load(Relaxed)).unwrap_or(0);
        Hello { guardian, gaps: header.stats.gaps.load(Relaxed), ..Hello::ours() }
    }

    /// Runs until SIGTERM has ended everything, or the guardian is dead.
    pub(super) fn run(&mut self) -> Outcome {
        let mut events = [EpollEvent::empty(); EVENTS];
        // Exits and requests may have come while there was no holder.
        self.contained(None, EventLoop::reap);
        self.contained(None, EventLoop::serve);
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
                    Token::Leader(key) => {
                        self.contained(Some(key), |all| all.sessions.leader_event(key, &all.epoll));
                    }
                    Token::Poke => {
                        self.contained(None, |all| all.sessions.collect_exits(&all.epoll));
                    }
                    Token::Guardian => self.outcome = Some(Outcome::Orphaned),
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
            if self.sessions.are_dying() {
                self.contained(None, |all| all.sessions.ask_again(&all.epoll));
            }
            self.contained(None, EventLoop::advance_shutdown);
            if let Some(outcome) = self.outcome {
                return outcome;
            }
        }
        Outcome::Ended
    }

    fn begin_shutdown(&mut self) {
        self.shared.header().ending.store(1, Release);
        let descendants = Descendants::of(&self.shared, &mut self.sessions);
        self.shutdown.get_or_insert_with(|| Shutdown::begin(&descendants));
        account::recount(&self.shared);
    }

    fn advance_shutdown(&mut self) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.advance(|| Descendants::of(&self.shared, &mut self.sessions));
            // It reads /proc.
            account::recount(&self.shared);
        }
    }

    /// Runs `deed` about one session, or about the server if `about` is `None`. No panic is known.
    /// If there is one, it costs the session (whose program waits from then on, as for a full
    /// terminal) or the connection (and the next server asks for everything), and nothing else.
    fn contained(&mut self, about: Option<SlotKey>, deed: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| deed(self))).is_ok() {
            return;
        }
        self.count(|stats| &stats.panics);
        // The panic may have printed, or left an operation unfinished that has no effect now.
        account::recount(&self.shared);
        // The panic may have happened while parts of it were taken out.
        self.inbox = Inbox::new();
        if !about.is_some_and(|key| self.sessions.give_up(key, &self.epoll)) {
            self.drop_server();
        }
    }

    fn count(&self, word: impl FnOnce(&StatsWords) -> &AtomicU64) {
        word(&self.shared.header().stats).fetch_add(1, Relaxed);
    }

    fn timeout(&self) -> EpollTimeout {
        if self.sessions.are_busy() {
            return EpollTimeout::ZERO;
        }
        match &self.shutdown {
            Some(shutdown) => shutdown.timeout(),
            None if self.sessions.are_dying() => EpollTimeout::from(CROWDED),
            None if self.crowded || self.server.as_ref().is_some_and(Peer::is_short) => {
                EpollTimeout::from(CROWDED)
            }
            None => EpollTimeout::NONE,
        }
    }

    fn ended(&mut self) -> bool {
        let drained = self.sessions.are_drained();
        let Some(shutdown) = &self.shutdown else { return false };
        let over = drained && self.sessions.have_exited();
        let ended = shutdown.is_over(over, || Descendants::of(&self.shared, &mut self.sessions));
        account::recount(&self.shared);
        ended
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
        let mut records = [0; SIGNAL];
        while let Ok(SIGNAL) = account::read(&self.shared, &self.signals, &mut records) {
            // The number of the signal is the first field.
            let number = records.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number));
            match Signal::try_from(number) {
                Ok(Signal::SIGTERM | Signal::SIGINT) if self.shutdown.is_none() => {
                    self.begin_shutdown();
                }
                Ok(Signal::SIGTERM | Signal::SIGINT) => {}
                // The kernel merges SIGCHLDs, so one stands for any number.
                _ => self.reap(),
            }
        }
    }

    /// Reaps every child that has exited: leaders, and processes that they have left to us.
    fn reap(&mut self) {
        let mut exited: Vec<SlotKey> = Vec::new();
        let table = &mut self.sessions.table;
        let leads = |pid: Pid| {
            let key = table.led_by(pid)?;
            exited.push(key);
            table.get(key).map(|session| session.slot.clone())
        };
        reaping::reap(&self.shared, None, leads, |_| ());
        for key in exited {
            self.contained(Some(key), |all| all.sessions.exited(key, &all.epoll));
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
                        self.greeting.remove(0).close();
                        continue;
                    }
                    return;
                }
            };
            if !socket::peer_is_us(socket.as_fd()) {
                self.count(|stats| &stats.refused);
                continue;
            }
            self.serial = self.serial.wrapping_add(1);
            if self.greeting.len() >= GREETING_MAX {
                self.greeting.remove(0).close();
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
            if server.handled {
                server.take(&self.shared);
            }
            let Some(packet) = server.peek(&mut self.inbox) else { return };
            if packet.length == 0 {
                self.drop_server();
                return;
            }
            self.handle(&packet);
        }
    }

    /// Reads the first message of a connection.
    fn greet(&mut self, mut peer: Peer) {
        let Some(packet) = peer.peek(&mut self.inbox) else {
            self.greeting.push(peer);
            return;
        };
        let bytes = self.inbox.bytes.get(..packet.length).unwrap_or_default();
        let Ok(message) = Message::parse(bytes) else {
            // The peer is gone, or does not speak our protocol.
            self.malformed(packet.length > 0);
            // Closed with a packet in it, a socket reports a reset.
            peer.take_greeting(&self.shared);
            peer.close();
            return;
        };
        let request = message.request;
        if message.kind == Kind::Upgrade as u8 {
            let (wanted, program) = (message.control().ok(), self.inbox.fds.drain(..).next());
            return self.upgrade(peer, wanted, program);
        }
        let hello = message.control::<Hello>().ok();
        let Some(hello) = hello.filter(|_| message.kind == Kind::Hello as u8) else {
            self.malformed(true);
            let failure = Failure::invalid("hello has to come first");
            peer.send(Kind::Failed, request, Some(&failure), None);
            peer.take_greeting(&self.shared);
            peer.close();
            return;
        };
        if hello.major != wire::MAJOR {
            self.count(|stats| &stats.refused);
            peer.send(Kind::Failed, request, Some(&Failure::version()), None);
            peer.take_greeting(&self.shared);
            // The peer may read the refusal later.
            self.greeting.push(peer);
            return;
        }
        self.replace_server(peer);
        let hello = self.hello();
        if let Some(server) = &mut self.server {
            server.send(Kind::Hello, request, Some(&hello), None);
            server.handled = true;
        }
    }

    /// Accepts everything that the previous server had sent, closes its connection, and records
    /// that of the next one.
    fn replace_server(&mut self, next: Peer) {
        if let Some(server) = &mut self.server {
            server.close_in();
            if server.handled {
                server.take(&self.shared);
            }
            while let Some(server) = &mut self.server
                && let Some(packet) = server.peek(&mut self.inbox)
                && packet.length > 0
            {
                self.handle(&packet);
                if let Some(server) = &mut self.server {
                    server.take(&self.shared);
                }
            }
        }
        let previous = self.server.take();
        self.sessions.forget_requests();
        self.record_server(next.kept().word());
        self.server = Some(next);
        if let Some(previous) = previous {
            previous.close();
        }
    }

    /// The connection is closed, and nobody continues it.
    fn drop_server(&mut self) {
        if let Some(server) = self.server.take() {
            self.record_server(0);
            server.close();
        }
    }

    /// Records which connection is the server's. Its messages are counted from there.
    fn record_server(&self, socket: u64) {
        let header = self.shared.header();
        let mut stores = Stores::default();
        stores.word(&self.shared, &header.fds.server, socket);
        let words = &header.server;
        for word in [&words.taken, &words.performed, &words.begun, &words.tries] {
            stores.word(&self.shared, word, 0);
        }
        journal::commit(&self.shared, 0, None, &stores);
    }

    fn malformed(&mut self, really: bool) {
        if really {
            self.count(|stats| &stats.malformed);
        }
    }

    /// Performs the request in the inbox, which stays in the socket until it is performed and
    /// answered.
    fn handle(&mut self, packet: &Packet) {
        let tries = self.shared.header().server.tries.load(Relaxed);
        self.shared.header().server.tries.store(tries.saturating_add(1), Release);
        // Taken out so that the message can be borrowed while sessions change.
        let bytes = std::mem::take(&mut self.inbox.bytes);
        let message = Message::parse(bytes.get(..packet.length).unwrap_or_default());
        if let Ok(message) = message {
            let request = message.request;
            let answer = if packet.truncated {
                Err(Failure::invalid("message too long"))
            } else if packet.lost {
                Err(Failure::no_files())
            } else if tries >= TRIES {
                Err(Failure::poisoned())
            } else {
                self.perform(&message)
            };
            match answer {
                Ok(Answer::Done) => self.answer(Kind::Done, request, None::<&()>),
                Ok(Answer::Stats(stats)) => self.answer(Kind::Stats, request, Some(&stats)),
                Ok(Answer::Hello) => self.answer(Kind::Hello, request, Some(&self.hello())),
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
        if let Some(server) = &mut self.server {
            server.handled = true;
        }
    }

    fn perform(&mut self, message: &Message<'_>) -> Result<Answer, Failure> {
        let mut reach = Reach {
            sessions: &mut self.sessions,
            shared: &self.shared,
            number: self.shared.header().server.taken.load(Relaxed).saturating_add(1),
            epoll: &self.epoll,
            fds: &mut self.inbox.fds,
            open_files: self.shared.header().open_files.load(Relaxed),
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
            self.sessions.remove_failed();
            self.sessions.due = false;
            return;
        };
        tell::tell(server, &mut self.sessions);
        if server.watch(&self.epoll).is_err() {
            // Nothing could be received from it any more.
            self.drop_server();
        }
    }
}

#[cfg(test)]
#[path = "event_loop_tests.rs"]
mod tests;
