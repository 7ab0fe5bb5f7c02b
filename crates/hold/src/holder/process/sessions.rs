//! The held sessions, and the work to be done before the loop waits again.

use super::session::Session;
use super::table::Table;
use super::token::{SlotKey, Token};
use super::{reaping, sys};
use crate::exit::Exit;
use crate::holder::shared::{SharedState, Slot};
use crate::ring::IN_FLIGHT;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes read from one terminal before the others have their turn.
const TURN: u64 = IN_FLIGHT;
/// The same while a client types: as much as the kernel returns at once, so that neither keystrokes
/// nor their echo wait for floods. It costs a flood a fifth of its speed.
const TURN_TYPING: u64 = 4 << 10;
/// A client counts as typing for this long after a keystroke.
const TYPING: Duration = Duration::from_millis(250);
/// Most programs have echoed a keystroke within this time.
const ECHOED: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) table: Table,
    /// Whether a session has a notice for the server.
    pub(super) due: bool,
    /// The time of the last input, and its session.
    typed: Option<(Instant, SlotKey)>,
    /// Sessions whose readers were not woken for the last output, and where it ended: more is
    /// expected.
    unreported: Vec<(SlotKey, u64)>,
    /// Sessions whose leaders are dead and whose output may not all be read.
    draining: Vec<SlotKey>,
    /// Sessions whose leaders are dead and whose exits are another process's to tell.
    dying: Vec<SlotKey>,
}

impl Sessions {
    /// The sessions of an earlier holder. One that cannot be taken over stays as it is for a later
    /// one; its number is returned.
    pub(super) fn restore(shared: &Arc<SharedState>, epoll: &Epoll) -> (Self, u64) {
        let (mut sessions, mut lost) = (Sessions::default(), 0_u64);
        for slot in Slot::live(shared) {
            let key = SlotKey::new(slot.index(), 0);
            match Session::restore(slot, key).map(|session| sessions.adopt(session, epoll)) {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => lost = lost.saturating_add(1),
            }
        }
        sessions.due = true;
        (sessions, lost)
    }

    fn adopt(&mut self, session: Box<Session>, epoll: &Epoll) -> Result<(), Errno> {
        let key = session.key;
        let started = EpollEvent::new(EpollFlags::EPOLLIN, Token::Report(key).word());
        if let Some(report) = session.stage.report() {
            epoll.add(report, started)?;
        }
        // Its parent is another process. Edge-triggered: its death is one event, and that it was
        // reaped is another.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        if let (None, Some(process)) = (session.exit, session.slot.process()) {
            epoll.add(process, EpollEvent::new(edge, Token::Leader(key).word()))?;
        }
        self.table.restore(session);
        self.rewatch(key, epoll);
        Ok(())
    }

    /// Whether there is work although no event may report it.
    pub(super) fn are_busy(&self) -> bool {
        !self.draining.is_empty() || !self.unreported.is_empty()
    }

    /// Whether all output of dead leaders is read, as far as there is room for it.
    pub(super) fn are_drained(&self) -> bool {
        self.draining.is_empty()
    }

    /// Notes that a client types into this session.
    pub(super) fn typed(&mut self, key: SlotKey) {
        self.typed = Some((Instant::now(), key));
    }

    /// The session whose program is most probably about to echo.
    pub(super) fn echoing(&self) -> Option<SlotKey> {
        self.typed.filter(|(at, _)| at.elapsed() < ECHOED).map(|(_, key)| key)
    }

    /// Handles a terminal that has output, or takes input.
    pub(super) fn turn(&mut self, key: SlotKey, epoll: &Epoll) {
        let Some(session) = self.table.get(key) else { return };
        let typing = self.typed.is_some_and(|(at, _)| at.elapsed() < TYPING);
        self.due |= session.read_turn(if typing { TURN_TYPING } else { TURN });
        if let Some(head) = session.unreported() {
            self.unreported.push((key, head));
        }
        if !session.queue.is_empty() {
            session.write_input();
            session.wake_refused();
        }
        self.rewatch(key, epoll);
    }

    /// Takes the sessions whose readers were not woken yet. The caller has to `report` them.
    pub(super) fn take_unreported(&mut self) -> Vec<(SlotKey, u64)> {
        std::mem::take(&mut self.unreported)
    }

    /// Wakes the readers of those sessions in which no more output has come.
    pub(super) fn report(&mut self, unreported: Vec<(SlotKey, u64)>) {
        for (key, head) in unreported {
            self.due |= self.table.get(key).is_some_and(|session| session.quiet(head));
        }
    }

    /// The session at `index` among those that are being drained.
    pub(super) fn draining_at(&self, index: usize) -> Option<SlotKey> {
        self.draining.get(index).copied()
    }

    /// Reads the output of a dead leader. epoll does not report its end while a background process
    /// keeps the terminal open.
    pub(super) fn drain(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            self.due |= session.draining() && session.read_output();
        }
        self.rewatch(key, epoll);
    }

    /// The index after this one, or the same index if that session is now drained, because another
    /// one takes its place.
    pub(super) fn after_draining(&mut self, index: usize) -> usize {
        let key = self.draining_at(index);
        if key.and_then(|key| self.table.get(key)).is_some_and(|session| session.draining()) {
            return index.saturating_add(1);
        }
        if index < self.draining.len() {
            self.draining.swap_remove(index);
        }
        index
    }

    /// There may be room in a session's ring: reads its terminal again.
    pub(super) fn resume(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            self.due |= session.resume();
            if session.draining() && !self.draining.contains(&key) {
                self.draining.push(key);
            }
        }
        self.rewatch(key, epoll);
    }

    /// Sets the events of a session after a change to what it waits for.
    pub(super) fn rewatch(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            // This fails only if memory is short, and the next event tries again.
            let _ = session.watch(epoll);
        }
    }

    /// Reads what a session's shim has reported, or the end of its report.
    pub(super) fn hear(&mut self, key: SlotKey) {
        self.due |= self.table.get(key).is_some_and(|session| session.stage.hear(&session.slot));
    }

    /// Whether the leaders of all sessions are dead.
    pub(super) fn have_exited(&mut self) -> bool {
        self.table.iter_mut().all(|session| session.exit.is_some())
    }

    /// Whether an exit is waited for that no event may report.
    pub(super) fn are_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Looks again at the sessions whose leaders are dead.
    pub(super) fn ask_again(&mut self, epoll: &Epoll) {
        for key in std::mem::take(&mut self.dying) {
            self.leader_event(key, epoll);
        }
    }

    /// Looks at every session for an exit that was noted.
    pub(super) fn collect_exits(&mut self, epoll: &Epoll) {
        for key in self.table.keys() {
            self.exited(key, epoll);
        }
    }

    /// A leader that is another process's child has ended, or was reaped.
    pub(super) fn leader_event(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key)
            && session.slot.exit().is_none()
            && let Some(process) = session.slot.process()
        {
            match sys::exit_of(process.as_fd()) {
                Some(exit) => session.slot.set_exit(exit),
                // A guardian reaps it and says so. Without one, whoever has reaped it says nothing.
                None if reaping::is_lost(session.leader, process.as_fd()) => {
                    session.slot.set_exit(Exit::Unknown);
                }
                // A kernel that is too old reports the death alone, and not that it was reaped.
                None => self.dying.push(key),
            }
        }
        self.exited(key, epoll);
    }

    /// Handles the exit of a leader, once it is noted in the session's slot.
    pub(super) fn exited(&mut self, key: SlotKey, epoll: &Epoll) {
        // The shim's report was complete before its death, but may not have been read.
        let Some(session) = self.table.get(key).filter(|session| session.exit.is_none()) else {
            return;
        };
        let Some(exit) = session.slot.exit() else { return };
        let leader = session.leader;
        self.table.forget_leader(leader);
        self.hear(key);
        let Some(session) = self.table.get(key) else { return };
        session.leader_exited(exit);
        self.due = true;
        if session.stage.failed().is_some() {
            return;
        }
        session.read_output();
        if session.draining() {
            self.draining.push(key);
        }
        self.rewatch(key, epoll);
    }

    /// Removes the sessions that could not be started, once everybody who waits knows.
    pub(super) fn remove_failed(&mut self) {
        let failed = |session: &Session| session.stage.failed().is_some() && session.exit.is_some();
        for key in self.table.keys() {
            let over = self
                .table
                .get(key)
                .is_some_and(|session| failed(session) && session.slot.asked().is_none());
            if over {
                self.table.remove(key);
            }
        }
    }

    /// Stops using a session after a panic of ours. Returns false if there is no such session.
    pub(super) fn give_up(&mut self, key: SlotKey, epoll: &Epoll) -> bool {
        let Some(session) = self.table.get(key) else { return false };
        self.due |= session.give_up(epoll);
        true
    }

    /// Forgets the requests that wait for a reply, because another server has connected.
    pub(super) fn forget_requests(&mut self) {
        for session in self.table.iter_mut() {
            session.notices = Default::default();
            session.slot.answered(None);
        }
        self.remove_failed();
    }
}
