//! The loop.

use super::ending::Ending;
use super::peer::{Inbox, Peer};
use super::table::Table;
use super::token::{Place, Token};
use crate::holder::socket;
use crate::holder::wire::{Failure, Stats};
use crate::ring::IN_FLIGHT;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Events taken at once. More wait in the kernel's queue, which is in turn order.
const EVENTS: usize = 64;
/// Connections that have not said hello. More would be somebody's mistake.
const GREETING_MAX: usize = 16;
/// Milliseconds until a connection is tried again for which there was no descriptor: no
/// event tells that there is one.
const CROWDED: u8 = 100;

/// Bytes read from one terminal before the others have their turn.
const TURN: u64 = IN_FLIGHT;
/// The same while somebody types: what the kernel gives at once, so that neither keystrokes
/// nor their echo wait for floods. It costs a flood a fifth of its speed.
const TURN_TYPING: u64 = 4 << 10;
/// For so long after a keystroke somebody types.
const TYPING: Duration = Duration::from_millis(250);
/// Within this most programs have echoed what was typed.
const ECHOED: Duration = Duration::from_millis(10);

pub(super) struct Process {
    pub(super) epoll: Epoll,
    pub(super) signals: SignalFd,
    pub(super) listener: OwnedFd,
    pub(super) sessions: Table,
    pub(super) server: Option<Peer>,
    pub(super) greeting: Vec<Peer>,
    pub(super) serial: u32,
    /// A connection waits for which there was no descriptor.
    pub(super) crowded: bool,
    pub(super) inbox: Inbox,
    pub(super) stats: Stats,
    /// A session has something to tell the server.
    pub(super) due: bool,
    /// Spawns that failed and whose requests have not been told yet.
    pub(super) failures: Vec<(u32, Failure)>,
    /// When input last came, and for which session.
    pub(super) typed: Option<(Instant, Place)>,
    /// Sessions of whose last output nobody was told, and where it ended: more is expected.
    pub(super) untold: Vec<(Place, u64)>,
    /// Sessions whose leaders are gone and whose output may be unread.
    pub(super) draining: Vec<Place>,
    pub(super) ending: Option<Ending>,
    /// The limit of open files before it was raised: the sessions' own.
    pub(super) open_files: u64,
}

impl Process {
    pub(super) fn new(
        signals: SignalFd,
        listener: OwnedFd,
        open_files: u64,
    ) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, Token::Signals.word()))?;
        // Edge-triggered: a connection that cannot be accepted for want of descriptors must
        // not keep the loop spinning.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&listener, EpollEvent::new(edge, Token::Listener.word()))?;
        Ok(Process {
            epoll,
            signals,
            listener,
            sessions: Table::default(),
            server: None,
            greeting: Vec::new(),
            serial: 0,
            crowded: false,
            inbox: Inbox::new(),
            stats: Stats::default(),
            due: false,
            failures: Vec::new(),
            typed: None,
            untold: Vec::new(),
            draining: Vec::new(),
            ending: None,
            open_files,
        })
    }

    /// Runs until SIGTERM has ended everything.
    pub(super) fn run(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.ended() {
            let count = self.epoll.wait(&mut events, self.timeout()).unwrap_or(0);
            let events = events.get(..count).unwrap_or_default();
            let tokens = || events.iter().filter_map(|event| Token::of(event.data()));
            // Keystrokes go before floods.
            for token in tokens() {
                match token {
                    Token::Signals => self.contained(None, Process::signalled),
                    Token::Listener => self.contained(None, Process::accept),
                    Token::Peer(serial) => self.contained(None, |all| all.peer_event(serial)),
                    Token::Report(place) => self.contained(Some(place), |all| all.report(place)),
                    Token::Terminal(_) => {}
                }
            }
            let untold = std::mem::take(&mut self.untold);
            for token in tokens() {
                if let Token::Terminal(place) = token {
                    self.contained(Some(place), |all| all.terminal(place));
                    if count > 1 {
                        self.hasten();
                    }
                }
            }
            for (place, head) in untold {
                self.due |= self.sessions.get(place).is_some_and(|session| session.quiet(head));
            }
            if self.crowded {
                self.contained(None, Process::accept);
            }
            self.drain();
            self.contained(None, Process::tell);
            self.contained(None, Process::advance_ending);
        }
    }

    /// Does something about one session, or about the server if there is none. There is no
    /// panic that we know of; should there be one, it costs the session (whose program waits
    /// from then on, as in front of a full terminal) or the connection (and who connects
    /// next is told everything), not all the others.
    pub(super) fn contained(&mut self, about: Option<Place>, deed: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| deed(self))).is_ok() {
            return;
        }
        self.stats.panics = self.stats.panics.saturating_add(1);
        // Parts of it are taken out while a message is handled.
        self.inbox = Inbox::new();
        match about.and_then(|place| self.sessions.get(place)) {
            Some(session) => {
                self.due |= session.give_up(&self.epoll);
            }
            None => self.server = None,
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.draining.is_empty() || !self.untold.is_empty() {
            return EpollTimeout::ZERO;
        }
        match &self.ending {
            Some(ending) => ending.timeout(),
            None if self.crowded || self.server.as_ref().is_some_and(Peer::is_short) => {
                EpollTimeout::from(CROWDED)
            }
            None => EpollTimeout::NONE,
        }
    }

    /// A terminal has output, or takes input.
    fn terminal(&mut self, place: Place) {
        let Some(session) = self.sessions.get(place) else { return };
        let typing = self.typed.is_some_and(|(at, _)| at.elapsed() < TYPING);
        self.due |= session.read_turn(if typing { TURN_TYPING } else { TURN });
        if let Some(head) = session.untold() {
            self.untold.push((place, head));
        }
        if !session.queue.is_empty() {
            session.write_input();
            session.wake_refused();
        }
        self.rewatch(place);
    }

    /// Between the turns of two terminals: what must not wait until all that flood have had
    /// theirs, which are requests and the echo of what was just typed.
    fn hasten(&mut self) {
        self.contained(None, Process::serve);
        if let Some((at, place)) = self.typed
            && at.elapsed() < ECHOED
        {
            self.contained(Some(place), |all| all.terminal(place));
        }
    }

    /// Reads what the dead have written; epoll does not tell its end while a background
    /// process keeps the terminal open.
    fn drain(&mut self) {
        let mut index = 0;
        while let Some(place) = self.draining.get(index).copied() {
            self.contained(Some(place), |all| {
                if let Some(session) = all.sessions.get(place) {
                    all.due |= session.draining() && session.read_output();
                }
                all.rewatch(place);
            });
            if self.sessions.get(place).is_some_and(|session| session.draining()) {
                index = index.saturating_add(1);
            } else {
                self.draining.swap_remove(index);
            }
        }
    }

    /// After anything that may have changed what a session waits for.
    pub(super) fn rewatch(&mut self, place: Place) {
        if let Some(session) = self.sessions.get(place) {
            // Only memory can be short; the next event tries again.
            let _ = session.watch(&self.epoll);
        }
    }

    fn signalled(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(signal) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.begin_ending(),
                // SIGCHLD is merged by the kernel, so one tells of any number.
                _ => self.reap(),
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match socket::accept(self.listener.as_fd()) {
                Ok(socket) => socket,
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(errno) => {
                    // Without a descriptor the kernel says so even if nobody waits.
                    let listener = self.listener.as_fd();
                    self.crowded = errno != Errno::EAGAIN && socket::readable(listener);
                    // Those who say nothing make room for one who may.
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
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
