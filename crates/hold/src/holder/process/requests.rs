//! What the server asks for.

use super::birth::NO_FILES;
use super::peer::{Listing, Peer};
use super::run::Process;
use super::session::Purpose;
use super::session::{Notices, Stage};
use super::token::Place;
use crate::holder::BLOB_MAX;
use crate::holder::socket::Packet;
use crate::holder::wire::{
    self, Failure, FailureCode, Hello, InputTail, Kind, Listed, Malformed, Message, PAGE_MAX,
    Target,
};
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Messages read from the server before the terminals have their turn.
const BATCH: usize = 64;

/// What becomes of a request.
pub(super) enum Answer {
    Done,
    /// It is answered later, or never.
    Later,
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        failure(FailureCode::Invalid, "malformed request")
    }
}

pub(super) fn failure(code: FailureCode, message: &str) -> Failure {
    Failure { code, message: message.to_owned(), ..Failure::default() }
}

impl Process {
    pub(super) fn peer_event(&mut self, serial: u32) {
        if self.server.as_ref().is_some_and(|server| server.serial == serial) {
            self.serve();
        } else if let Some(index) = self.greeting.iter().position(|peer| peer.serial == serial) {
            let peer = self.greeting.swap_remove(index);
            self.greet(peer);
        }
    }

    /// Reads from the server as long as its answers can be sent.
    pub(super) fn serve(&mut self) {
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
            // Gone, or nothing that we speak.
            self.malformed(packet.length > 0);
            return;
        };
        let request = message.request;
        let hello = message.control::<Hello>().ok();
        let Some(hello) = hello.filter(|_| message.kind == Kind::Hello as u8) else {
            self.malformed(true);
            let failure = failure(FailureCode::Invalid, "hello has to come first");
            peer.send(Kind::Failed, request, Some(&failure), None);
            return;
        };
        if hello.major != wire::MAJOR {
            self.stats.refused = self.stats.refused.saturating_add(1);
            let message = format!(
                "this holder speaks version {} only: start a stayd that does, or end the \
                 sessions with `stayd stop --all`",
                wire::MAJOR
            );
            let failure =
                Failure { major: Some(wire::MAJOR), ..failure(FailureCode::Version, &message) };
            peer.send(Kind::Failed, request, Some(&failure), None);
            // It may read that in its own time.
            self.greeting.push(peer);
            return;
        }
        self.replace_server();
        peer.send(Kind::Hello, request, Some(&Hello::ours()), None);
        self.server = Some(peer);
    }

    /// Accepts what the previous server had sent, to its end, and closes its connection.
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
        self.failures.clear();
        for session in self.sessions.iter_mut() {
            session.notices = Notices::default();
            match &mut session.stage {
                Stage::Starting { asked, .. }
                | Stage::Failed { asked, .. }
                | Stage::Started { asked } => asked.clear(),
            }
        }
    }

    fn malformed(&mut self, really: bool) {
        self.stats.malformed = self.stats.malformed.saturating_add(u64::from(really));
    }

    /// Does what the packet in the inbox asks for.
    fn handle(&mut self, packet: &Packet) {
        // Taken out so that the message can be borrowed while sessions change.
        let bytes = std::mem::take(&mut self.inbox.bytes);
        let message = Message::parse(bytes.get(..packet.length).unwrap_or_default());
        if let Ok(message) = message {
            let request = message.request;
            let answer = if packet.truncated {
                Err(failure(FailureCode::Invalid, "message too long"))
            } else if packet.lost {
                Err(failure(FailureCode::Limit, NO_FILES))
            } else {
                self.perform(&message)
            };
            match answer {
                Ok(Answer::Done) => self.answer(Kind::Done, request, None::<&()>),
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
        // Whatever came with it and was not taken is closed here.
        self.inbox.fds.clear();
    }

    fn answer<T: serde::Serialize>(&mut self, kind: Kind, request: u32, control: Option<&T>) {
        if request != 0
            && let Some(server) = &mut self.server
        {
            server.send(kind, request, control, None);
        }
    }

    fn perform(&mut self, message: &Message<'_>) -> Result<Answer, Failure> {
        let Some(kind) = Kind::from_byte(message.kind) else {
            let text = format!("this holder does not know messages of kind {}", message.kind);
            return Err(failure(FailureCode::Invalid, &text));
        };
        match kind {
            Kind::Input => self.input(&InputTail::parse(message.tail)?, Purpose::Typed),
            Kind::Counted => self.input(&InputTail::parse(message.tail)?, Purpose::Counted),
            Kind::Resize => self.resize(&message.control()?),
            Kind::Resume => self.resume(&message.control()?),
            Kind::Spawn => {
                let spec: Option<OwnedFd> = self.inbox.fds.drain(..).next();
                self.spawn(message.request, &message.control()?, message.tail, spec)?;
                Ok(Answer::Later)
            }
            Kind::List => {
                let list: wire::List = message.control()?;
                if let Some(server) = &mut self.server {
                    let request = message.request;
                    server.listing = Some(Listing { request, after: list.after, left: PAGE_MAX });
                }
                Ok(Answer::Later)
            }
            Kind::Signal => self.signal(&message.control()?),
            Kind::Blob => self.blob(&message.control()?, message.tail),
            Kind::Forget => self.forget(&message.control()?),
            Kind::Checkpoint => self.checkpoint(&message.control()?),
            Kind::Stats => {
                self.stats.sessions = self.sessions.len() as u64;
                let stats = self.stats;
                self.answer(Kind::Stats, message.request, Some(&stats));
                Ok(Answer::Later)
            }
            Kind::Hello
            | Kind::Done
            | Kind::Entry
            | Kind::Listed
            | Kind::Failed
            | Kind::Output
            | Kind::Exited => Err(failure(FailureCode::Invalid, "not a request")),
        }
    }

    fn input(&mut self, input: &InputTail<'_>, purpose: Purpose) -> Result<Answer, Failure> {
        let place = self.sessions.place(input.id).ok_or_else(no_session)?;
        if let Some(session) = self.sessions.get(place) {
            session.take_input(input, purpose);
            self.typed = Some((Instant::now(), place));
        }
        self.rewatch(place);
        Ok(Answer::Done)
    }

    fn resize(&mut self, resize: &wire::Resize) -> Result<Answer, Failure> {
        let place = self.sessions.place(resize.id).ok_or_else(no_session)?;
        let session = self.sessions.get(place).ok_or_else(no_session)?;
        if resize.cols == 0 || resize.rows == 0 {
            return Err(failure(FailureCode::Invalid, "a terminal has at least one cell"));
        }
        let resized = session.resize(resize.cols, resize.rows);
        self.rewatch(place);
        self.due |= resized.map_err(os_failure)?;
        Ok(Answer::Done)
    }

    fn resume(&mut self, target: &Target) -> Result<Answer, Failure> {
        let place = self.sessions.place(target.id).ok_or_else(no_session)?;
        self.resume_reading(place);
        Ok(Answer::Done)
    }

    /// There may be room in a session's ring again.
    pub(super) fn resume_reading(&mut self, place: Place) {
        if let Some(session) = self.sessions.get(place) {
            self.due |= session.resume();
            if session.draining() && !self.draining.contains(&place) {
                self.draining.push(place);
            }
        }
        self.rewatch(place);
    }

    fn signal(&mut self, signal: &wire::Signal) -> Result<Answer, Failure> {
        let session = self.sessions.by_id(signal.id).ok_or_else(no_session)?;
        match session.signal(signal.signal) {
            Ok(()) => Ok(Answer::Done),
            Err(Errno::ESRCH) => Err(failure(FailureCode::Ended, "the session has ended")),
            Err(Errno::EINVAL) => Err(failure(FailureCode::Invalid, "no such signal")),
            Err(errno) => Err(os_failure(errno)),
        }
    }

    fn blob(&mut self, target: &Target, blob: &[u8]) -> Result<Answer, Failure> {
        if blob.len() > BLOB_MAX {
            return Err(failure(FailureCode::Invalid, "blob too long"));
        }
        let session = self.sessions.by_id(target.id).ok_or_else(no_session)?;
        let more = blob.len().saturating_sub(session.blob.len());
        session.blob.try_reserve(more).map_err(|_| no_memory())?;
        session.blob.clear();
        session.blob.extend_from_slice(blob);
        Ok(Answer::Done)
    }

    fn forget(&mut self, target: &Target) -> Result<Answer, Failure> {
        let place = self.sessions.place(target.id).ok_or_else(no_session)?;
        let session = self.sessions.get(place).ok_or_else(no_session)?;
        if session.exit.is_none() {
            return Err(failure(FailureCode::Live, "the session is still running"));
        }
        self.sessions.remove(place);
        Ok(Answer::Done)
    }

    /// Tells the server what is due, as far as its socket takes it.
    pub(super) fn tell(&mut self) {
        self.tell_waiting();
        self.tell_listing();
        self.tell_failures();
        if self.due {
            self.tell_sessions();
        }
        if let Some(server) = &mut self.server
            && server.watch(&self.epoll).is_err()
        {
            // It could never be heard again.
            self.server = None;
        }
    }

    fn tell_waiting(&mut self) {
        let Some(server) = &mut self.server else { return };
        match server.waiting_for() {
            None => server.flush(&[]),
            Some(id) => match self.sessions.by_id(id) {
                Some(session) => server.flush(session.fds().as_slice()),
                None => server.flush(&[]),
            },
        }
    }

    fn tell_listing(&mut self) {
        while let Some(server) = &mut self.server
            && server.ready()
            && let Some(listing) = server.listing
        {
            let next = self.sessions.after(listing.after);
            if let Some((id, place)) = next
                && let Some(left) = listing.left.checked_sub(1)
            {
                if let Some(session) = self.sessions.get(place) {
                    let beside = (id, session.blob.as_slice(), session.fds());
                    let entry = session.entry();
                    server.send(Kind::Entry, listing.request, Some(&entry), Some(beside));
                }
                server.listing = Some(Listing { after: Some(id), left, ..listing });
            } else {
                let listed = Listed { more: next.is_some() };
                server.send(Kind::Listed, listing.request, Some(&listed), None);
                server.listing = None;
            }
        }
    }

    fn tell_failures(&mut self) {
        while let Some(server) = &mut self.server
            && server.ready()
            && let Some((request, failure)) = self.failures.pop()
        {
            server.send(Kind::Failed, request, Some(&failure), None);
        }
    }

    fn tell_sessions(&mut self) {
        let Some(server) = &mut self.server else {
            // Whoever comes next asks for the state.
            self.due = false;
            return;
        };
        for session in self.sessions.iter_mut() {
            while server.ready()
                && let Stage::Started { asked } = &mut session.stage
                && let Some(request) = asked.pop()
            {
                let beside = (session.id, session.blob.as_slice(), session.fds());
                server.send(Kind::Entry, request, Some(&session.entry()), Some(beside));
            }
            let target = Target { id: session.id };
            if session.notices.output && server.ready() {
                session.notices.output = false;
                server.send(Kind::Output, 0, Some(&target), None);
            }
            if session.notices.exited && server.ready() {
                session.notices.exited = false;
                server.send(Kind::Exited, 0, Some(&target), None);
            }
            if !server.ready() {
                return;
            }
        }
        self.due = false;
    }
}

pub(super) fn no_session() -> Failure {
    failure(FailureCode::NotFound, "no such session")
}

/// Without memory Rust ends the process, so what could need much of it asks first.
pub(super) fn no_memory() -> Failure {
    failure(FailureCode::Limit, "out of memory")
}

fn os_failure(errno: Errno) -> Failure {
    Failure { errno: Some(errno as i32), ..failure(FailureCode::Other, errno.desc()) }
}
