//! One held session: its terminal, its ring, its input.

use super::checkpoint::Checkpoint;
use super::peer::Fds;
use super::stage::Stage;
use super::sys;
use super::token::{SlotKey, Token};
use crate::exit::Exit;
use crate::holder::ledger::{Ledger, QUEUE};
use crate::holder::shared::account::{self, Intent};
use crate::holder::shared::journal::{self, Stores};
use crate::holder::shared::{Kept, Queue, Slot};
use crate::holder::wire::{Entry, Failure, InputTail};
use crate::id::SessionId;
use crate::pty;
use crate::ring::{Due, IN_FLIGHT, InputProgress, RingError, Writer};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of a flood between two notices to the server, since each wake-up costs it a turn.
const TOLD_AT_ONCE: u64 = IN_FLIGHT;
/// A read shorter than this has most probably emptied the terminal. Leaving the rest to the next
/// event saves a read that says EAGAIN for each echoed keystroke.
const SHORT_READ: usize = 1 << 10;
/// The most bytes read from a terminal after its leader's death. The kernel buffers less than this,
/// so anything after it was written later, by a background process.
const DRAIN_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Session {
    /// What outlives this process. Everything here is a copy of it, or can be found out again.
    pub(super) slot: Slot,
    pub(super) id: SessionId,
    pub(super) key: SlotKey,
    pub(super) leader: Pid,
    pub(super) start_time: u64,
    pub(super) stage: Stage,
    /// The leader's exit, once it is reaped.
    pub(super) exit: Option<Exit>,
    pub(super) cols: u16,
    pub(super) rows: u16,
    /// The master; `None` once everything has been read. The slave is held open as well while the
    /// leader lives: the leader may close the terminal and open it again, and in between the master
    /// would read EIO.
    pub(super) master: Option<Kept>,
    pub(super) ring: Writer,
    pub(super) ring_fd: Kept,
    pub(super) wake: Kept,
    pub(super) ledger: Ledger,
    pub(super) queue: Queue,
    /// Whether input was refused for lack of room.
    pub(super) starved: bool,
    /// Whether the ring is full and the terminal is not read.
    pub(super) blocked: bool,
    /// Whether the last read has found as much as there was room for, or much.
    eager: bool,
    /// Bytes read without a notice, because more was there to be read at once.
    pub(super) unreported: u64,
    /// Bytes read since the leader was reaped.
    pub(super) drained: u64,
    /// The events that epoll watches the master for.
    pub(super) watched: EpollFlags,
    /// Notices that the server has not been sent yet.
    pub(super) notices: Notices,
}

/// The result of reading a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// There is probably more, see `quiet`.
    More,
    /// There is nothing more at the moment.
    Pause,
    /// There will be nothing more.
    End,
}

/// The use of a client's bytes, besides being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The program gets them.
    Typed,
    /// They are dropped.
    Counted,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notices {
    pub(super) output: bool,
    pub(super) exited: bool,
}

impl Session {
    /// An earlier holder's session.
    pub(super) fn restore(slot: Slot, key: SlotKey) -> Result<Box<Self>, RingError> {
        let missing = || RingError::Foreign("no descriptor");
        let ring = Writer::reopen(slot.ring().ok_or_else(missing)?.as_fd())?;
        let mut session = Session::of(slot, ring, key).ok_or_else(missing)?;
        session.take_over();
        Ok(session)
    }

    /// The session of a slot, with its ring. `None` if the slot lacks a descriptor.
    pub(super) fn of(slot: Slot, ring: Writer, key: SlotKey) -> Option<Box<Self>> {
        let (ring_fd, wake) = (slot.ring()?, slot.wake()?);
        let (cols, rows) = ring.size().unwrap_or((0, 0));
        let master = slot.master().filter(|_| ring.ended().is_none());
        let used = |client| slot.used(client).map_or(0, |word| word.load(Relaxed));
        let clients = ring.ledger().enumerate();
        let ledger = Ledger::restore(
            clients.map(|(client, (key, accepted, seen))| (key, accepted, seen, used(client))),
        );
        Some(Box::new(Session {
            id: slot.id(),
            key,
            leader: slot.leader(),
            start_time: slot.start_time(),
            stage: Stage::of(&slot),
            exit: None,
            cols,
            rows,
            master,
            ring,
            ring_fd,
            wake,
            ledger,
            queue: Queue::of(&slot),
            starved: false,
            blocked: false,
            eager: false,
            unreported: 0,
            drained: slot.drained(),
            watched: EpollFlags::empty(),
            notices: Notices::default(),
            slot,
        }))
    }

    /// Continues where an earlier holder has died: what it may not have said is said again.
    fn take_over(&mut self) {
        if let (Some(master), true) = (&self.master, self.cols > 0 && self.rows > 0) {
            // A resize is stamped first. If the program has ended, nobody minds.
            let _ = pty::set_size(master.as_fd(), self.cols, self.rows);
        }
        if let Some((meta, _)) = self.slot.checkpoint() {
            self.ring.hold_tail(meta.offset);
        }
        // Whoever was refused is woken at the next chance.
        self.starved = true;
        self.notices = Notices { output: true, exited: self.ring.ended().is_some() };
        if self.ring.ended().is_some() {
            self.exit = self.slot.exit();
            self.slot.close_master();
        }
        self.write_input();
        self.wake();
    }

    pub(super) fn entry(&self) -> Entry {
        let checkpoint = self.slot.checkpoint();
        Entry {
            id: self.id,
            pid: self.leader.as_raw(),
            start_time: self.start_time,
            exit: self.exit,
            cols: self.cols,
            rows: self.rows,
            checkpoint: checkpoint.as_ref().map(|(meta, _)| *meta),
            checkpoint_bytes: checkpoint.and_then(|(_, file)| file).map_or(0, |file| file.1),
        }
    }

    /// The descriptors that are sent with the entry.
    pub(super) fn fds(&self) -> Fds {
        let (ring, wake) = (self.ring_fd.as_raw_fd(), self.wake.as_raw_fd());
        match self.slot.checkpoint().and_then(|(_, file)| file) {
            Some((file, _)) => Fds::Three([ring, wake, file.as_raw_fd()]),
            None => Fds::Two([ring, wake]),
        }
    }

    /// The terminal is readable: reads at most `turn` bytes, and wakes the readers unless there
    /// seems to be more. Returns whether the server has to be sent a notice.
    pub(super) fn read_turn(&mut self, turn: u64) -> bool {
        let found = self.fill(turn);
        if found == Found::More && self.unreported < TOLD_AT_ONCE {
            return false;
        }
        self.tell_of(found)
    }

    /// The end of the last reading, if readers were not woken because more is expected.
    pub(super) fn unreported(&self) -> Option<u64> {
        (self.unreported > 0).then(|| self.ring.head())
    }

    /// Nothing has come after this offset: wakes the readers. Returns the same as `read_turn`.
    pub(super) fn quiet(&mut self, head: u64) -> bool {
        self.unreported() == Some(head) && self.tell()
    }

    /// Reads everything that the kernel has buffered, and wakes the readers. Returns the same as
    /// `read_turn`.
    pub(super) fn read_output(&mut self) -> bool {
        let found = self.fill(IN_FLIGHT);
        self.tell_of(found)
    }

    fn tell_of(&mut self, found: Found) -> bool {
        let watch = self.tell();
        let ended = found == Found::End && self.finish();
        ended || watch
    }

    /// Wakes those who wait for the output. Returns the same as `read_turn`.
    fn tell(&mut self) -> bool {
        self.unreported = 0;
        let Due { wake, watch } = self.ring.due();
        if wake {
            self.wake();
        }
        self.notices.output |= watch;
        watch
    }

    /// Reads at most `left` bytes.
    fn fill(&mut self, mut left: u64) -> Found {
        let Some(master) = &self.master else { return Found::Pause };
        while left > 0 && !self.blocked {
            let room = self.ring.room().min(left);
            if room == 0 {
                self.blocked = self.ring.block();
                continue;
            }
            let intent = Intent::Output { slot: self.slot.index(), head: self.ring.head() };
            let reading = account::begin(self.slot.shared(), intent);
            let buffer = self.ring.read_buffer(room, self.eager);
            let wanted = buffer.len();
            let result = reading.read(master, buffer);
            let count = result.unwrap_or(0);
            self.ring.publish(count as u64);
            reading.done(count);
            match result {
                Ok(count) if count > 0 => {
                    let bytes = count as u64;
                    self.eager = count == wanted || count >= SHORT_READ;
                    left = left.saturating_sub(bytes);
                    self.unreported = self.unreported.saturating_add(bytes);
                    if self.exit.is_some() {
                        self.drained = self.drained.saturating_add(bytes);
                        self.slot.set_drained(self.drained);
                        if self.drained >= DRAIN_MAX {
                            return Found::End;
                        }
                    } else if !self.eager {
                        return Found::Pause;
                    }
                }
                Err(Errno::EINTR) => {}
                // Before it reports EAGAIN, the kernel passes on everything that was written.
                Err(Errno::EAGAIN) if self.exit.is_none() => return Found::Pause,
                // EIO: nobody has the other side open any more.
                Ok(_) | Err(_) => return Found::End,
            }
        }
        if self.blocked { Found::Pause } else { Found::More }
    }

    /// The leader is reaped, but its output may not all be read.
    pub(super) fn leader_exited(&mut self, exit: Exit) {
        self.exit = Some(exit);
        self.slot.close_slave();
        self.queue.clear();
        self.write_input();
        // If reading had failed before, the failure is now the end.
        self.blocked = false;
        self.ring.unblock();
    }

    /// Whether output has to be read although no event may report it.
    pub(super) fn draining(&self) -> bool {
        self.exit.is_some() && self.master.is_some() && !self.blocked
    }

    /// Ends the output: all of it is in the ring. Returns false if the leader lives.
    fn finish(&mut self) -> bool {
        let Some(exit) = self.exit else {
            // We hold the other side open, so this is a failure that another read would only
            // repeat.
            self.blocked = true;
            return false;
        };
        // Closing the master also removes it from epoll, and hangs up on the processes left on the
        // terminal.
        self.master = None;
        self.watched = EpollFlags::empty();
        self.ring.end(exit);
        self.slot.close_master();
        self.changed();
        self.notices.exited = true;
        true
    }

    /// Stops using the terminal after a panic of ours. Returns the same as `read_turn`.
    pub(super) fn give_up(&mut self, epoll: &Epoll) -> bool {
        self.blocked = true;
        self.queue.clear();
        let watch = self.tell();
        if self.exit.is_some() {
            return self.finish();
        }
        // This fails only if memory is short, and is tried again later.
        let _ = self.watch(epoll);
        watch
    }

    /// The server has made room in the ring: reads again. Returns the same as `read_turn`.
    pub(super) fn resume(&mut self) -> bool {
        if !self.blocked || !self.ring.resumable() {
            return false;
        }
        self.blocked = false;
        self.ring.unblock();
        self.read_output()
    }

    /// Queues the new part of a client's input, as far as there is room.
    pub(super) fn take_input(&mut self, input: &InputTail<'_>, purpose: Purpose) {
        let key = input.key.to_bytes();
        let Some(offer) = self.ledger.offer(key, input.offset, input.bytes.len()) else { return };
        let new = offer.known.and_then(|known| input.bytes.get(known..)).unwrap_or_default();
        let taken = match (self.exit, purpose) {
            // After the leader's death no input is accepted.
            (Some(_), _) => 0,
            (None, Purpose::Counted) => new.len(),
            (None, Purpose::Typed) => self.queue.stage(new),
        };
        self.ledger.accept(offer.slot, taken);
        self.starved |= taken < new.len();
        let (accepted, seen) = self.ledger.get(offer.slot);
        let queued = if purpose == Purpose::Typed { taken } else { 0 };
        let free = QUEUE.saturating_sub(self.queue.len()).saturating_sub(queued) as u64;
        let assigned = offer.assigned.then_some(key);
        let progress = InputProgress { slot: offer.slot, assigned, accepted, seen, free };
        // The bytes are in the queue, and their client is told so, at the same instant.
        let (shared, mut stores) = (self.slot.shared(), Stores::default());
        if let Some(word) = self.queue.end_word() {
            let end = self.queue.end().saturating_add(queued as u64);
            stores.word(shared, word, end);
        }
        if let Some(word) = self.slot.used(offer.slot) {
            stores.word(shared, word, self.ledger.clock());
        }
        self.ring.input_stores(&progress, |word, value| stores.ring(word, value));
        journal::commit(shared, self.slot.index(), Some(&self.ring), &stores);
        self.write_input();
        self.wake_refused();
    }

    /// Writes as much of the queue to the terminal as it takes.
    pub(super) fn write_input(&mut self) {
        if let Some(master) = &self.master {
            while !self.queue.is_empty() {
                let start = self.queue.start();
                let intent = Intent::Input { slot: self.slot.index(), start };
                let writing = account::begin(self.slot.shared(), intent);
                let result = writing.write(master, self.queue.front());
                let count = result.unwrap_or(0);
                if count > 0 {
                    self.queue.written_to(start.saturating_add(count as u64));
                }
                writing.done(count);
                match result {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    // Nobody will ever read it.
                    Err(_) => self.queue.clear(),
                }
            }
        }
        let free = QUEUE.saturating_sub(self.queue.len());
        self.ring.set_input_free(free as u64);
    }

    /// Wakes the clients whose input was refused, because there is room.
    pub(super) fn wake_refused(&mut self) {
        if self.starved && self.queue.len() < QUEUE {
            self.starved = false;
            self.wake();
        }
    }

    /// Keeps a checkpoint in place of the last one. A refused one changes nothing.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint) -> Result<(), Failure> {
        let last = self.slot.checkpoint().map(|(meta, _)| meta);
        checkpoint.follows(last.as_ref(), &self.ring)?;
        let offset = checkpoint.meta.offset;
        // The order matters: the checkpoint is stored before the ring drops the output that it
        // covers.
        let file = checkpoint.bytes.map(|bytes| (bytes.fd, bytes.length));
        self.slot.set_checkpoint(&checkpoint.meta, file);
        self.ring.hold_tail(offset);
        Ok(())
    }

    /// Frees the memory of output before this offset, as far as nobody needs it.
    pub(super) fn discard(&mut self, before: u64) -> Result<(), Errno> {
        self.ring.discard(self.ring_fd.as_fd(), before)
    }

    /// Changes the terminal's size. What the program wrote for the old size is read first, so that
    /// the resize is stamped behind it. Returns the same as `read_turn`.
    pub(super) fn resize(&mut self, cols: u16, rows: u16) -> Result<bool, Errno> {
        let tell = self.read_output();
        let Some(master) = &self.master else { return Ok(tell) };
        // Stamped first: a holder that dies here leaves the rest to its successor.
        self.ring.stamp_resize(cols, rows);
        (self.cols, self.rows) = (cols, rows);
        pty::set_size(master.as_fd(), cols, rows)?;
        self.changed();
        Ok(tell)
    }

    /// Signals the foreground group, or the leader if there is none. The number 0 only tests for
    /// existence.
    pub(super) fn signal(&self, signal: i32) -> Result<(), Errno> {
        let (None, Some(master)) = (self.exit, &self.master) else { return Err(Errno::ESRCH) };
        if let Some(group) = pty::foreground_group(master.as_fd(), self.leader)
            && sys::kill_group(group, signal).is_ok()
        {
            return Ok(());
        }
        // The leader is not reaped, so the pid is still its own.
        sys::kill(self.leader, signal)
    }

    /// Sets the events for which epoll watches the master.
    pub(super) fn watch(&mut self, epoll: &Epoll) -> Result<(), Errno> {
        let Some(master) = &self.master else { return Ok(()) };
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, !self.blocked);
        wanted.set(EpollFlags::EPOLLOUT, !self.queue.is_empty());
        if wanted == self.watched {
            return Ok(());
        }
        let mut event = EpollEvent::new(wanted, Token::Terminal(self.key).word());
        // A registration without flags would still report a hang-up, again and again.
        match (self.watched.is_empty(), wanted.is_empty()) {
            (true, _) => epoll.add(master, event)?,
            (false, false) => epoll.modify(master, &mut event)?,
            (false, true) => epoll.delete(master)?,
        }
        self.watched = wanted;
        Ok(())
    }

    /// Wakes the readers for a change that has no offset.
    fn changed(&mut self) {
        if self.ring.anybody() {
            self.wake();
        }
    }

    fn wake(&self) {
        // A full counter means that more wake-ups are pending than anybody will miss.
        let _ = account::write(self.slot.shared(), &self.wake, &1u64.to_ne_bytes());
    }
}
