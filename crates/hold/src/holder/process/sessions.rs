//! The held sessions, and what is to be done about them before the loop waits again.

use super::stage::Stage;
use super::table::Table;
use super::token::SlotKey;
use crate::exit::Exit;
use crate::holder::wire::Failure;
use crate::ring::IN_FLIGHT;
use nix::sys::epoll::Epoll;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// Bytes read from one terminal before the others have their turn.
const TURN: u64 = IN_FLIGHT;
/// The same while somebody types: what the kernel gives at once, so that neither keystrokes
/// nor their echo wait for floods. It costs a flood a fifth of its speed.
const TURN_TYPING: u64 = 4 << 10;
/// For so long after a keystroke somebody types.
const TYPING: Duration = Duration::from_millis(250);
/// Within this most programs have echoed what was typed.
const ECHOED: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) table: Table,
    /// A session has something to tell the server.
    pub(super) due: bool,
    /// Spawns that failed and whose requests have not been told yet.
    pub(super) failures: Vec<(u32, Failure)>,
    /// When input last came, and for which session.
    typed: Option<(Instant, SlotKey)>,
    /// Sessions of whose last output nobody was told, and where it ended: more is expected.
    unreported: Vec<(SlotKey, u64)>,
    /// Sessions whose leaders are gone and whose output may be unread.
    draining: Vec<SlotKey>,
}

impl Sessions {
    /// There is something to be done although no event may tell so.
    pub(super) fn are_busy(&self) -> bool {
        !self.draining.is_empty() || !self.unreported.is_empty()
    }

    /// Nothing that the dead have written is unread, as far as there is room for it.
    pub(super) fn are_drained(&self) -> bool {
        self.draining.is_empty()
    }

    /// Somebody types into this one.
    pub(super) fn typed(&mut self, key: SlotKey) {
        self.typed = Some((Instant::now(), key));
    }

    /// The session whose program is most probably about to echo.
    pub(super) fn echoing(&self) -> Option<SlotKey> {
        self.typed.filter(|(at, _)| at.elapsed() < ECHOED).map(|(_, key)| key)
    }

    /// A terminal has output, or takes input.
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

    /// Those of whose output nobody was told yet; from now on they are the caller's.
    pub(super) fn take_unreported(&mut self) -> Vec<(SlotKey, u64)> {
        std::mem::take(&mut self.unreported)
    }

    /// Tells of their output where no more has come.
    pub(super) fn report(&mut self, unreported: Vec<(SlotKey, u64)>) {
        for (key, head) in unreported {
            self.due |= self.table.get(key).is_some_and(|session| session.quiet(head));
        }
    }

    /// The session at `index` among those that are drained.
    pub(super) fn draining_at(&self, index: usize) -> Option<SlotKey> {
        self.draining.get(index).copied()
    }

    /// Reads what the dead have written; epoll does not tell its end while a background
    /// process keeps the terminal open.
    pub(super) fn drain(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            self.due |= session.draining() && session.read_output();
        }
        self.rewatch(key, epoll);
    }

    /// The index after this one; the same if that session is drained now, since another one
    /// takes its place.
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

    /// There may be room in a session's ring again.
    pub(super) fn resume(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            self.due |= session.resume();
            if session.draining() && !self.draining.contains(&key) {
                self.draining.push(key);
            }
        }
        self.rewatch(key, epoll);
    }

    /// After anything that may have changed what a session waits for.
    pub(super) fn rewatch(&mut self, key: SlotKey, epoll: &Epoll) {
        if let Some(session) = self.table.get(key) {
            // Only memory can be short; the next event tries again.
            let _ = session.watch(epoll);
        }
    }

    /// A session's shim has said something, or nothing more.
    pub(super) fn hear(&mut self, key: SlotKey) {
        self.due |= self.table.get(key).is_some_and(|session| session.stage.hear());
    }

    /// A child has been reaped. False: it was no leader.
    pub(super) fn reaped(&mut self, pid: Pid, exit: Exit, epoll: &Epoll) -> bool {
        let Some(key) = self.table.take_leader(pid) else { return false };
        // Its report may be unread: it was complete before the death.
        self.hear(key);
        let Some(session) = self.table.get(key) else { return true };
        session.leader_exited(exit);
        if let Stage::Failed { step, errno, asked } = &mut session.stage {
            let failed = Failure::of_shim(step, *errno);
            for request in std::mem::take(asked) {
                self.failures.push((request, failed.clone()));
            }
            self.table.remove(key);
            return true;
        }
        self.due |= session.read_output();
        if session.draining() {
            self.draining.push(key);
        }
        self.rewatch(key, epoll);
        true
    }

    /// After a mistake of our own: nothing more is done about it by itself. False: there is
    /// no such session.
    pub(super) fn give_up(&mut self, key: SlotKey, epoll: &Epoll) -> bool {
        let Some(session) = self.table.get(key) else { return false };
        self.due |= session.give_up(epoll);
        true
    }

    /// Nobody waits for an answer any more: another server has come.
    pub(super) fn forget_requests(&mut self) {
        self.failures.clear();
        for session in self.table.iter_mut() {
            session.notices = Default::default();
            session.stage.asked().clear();
        }
    }
}
