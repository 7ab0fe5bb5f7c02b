//! One held session: its terminal, its ring, its input.

use super::checkpoint::{Bytes, Checkpoint};
use super::peer::Fds;
use super::stage::Stage;
use super::sys;
use super::token::{SlotKey, Token};
use crate::exit::Exit;
use crate::holder::ledger::{Ledger, QUEUE};
use crate::holder::wire::{Entry, Failure, InputTail};
use crate::id::SessionId;
use crate::pty;
use crate::ring::{Due, IN_FLIGHT, Writer};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::unistd::{Pid, read, write};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Bytes of a flood that the server is told of at once: each wake-up costs it a turn.
const TOLD_AT_ONCE: u64 = IN_FLIGHT;
/// A read shorter than this has most probably emptied the terminal: what comes after it
/// is left to the next event, which saves each keystroke's echo a read that says EAGAIN.
const SHORT_READ: usize = 1 << 10;
/// Read at most from a terminal after its leader's death. The kernel keeps less than this,
/// so what comes after it was written later, by a background process.
const DRAIN_MAX: u64 = 1 << 20;

/// Bytes of an empty input queue that are kept: keystrokes need no more, and what a paste
/// has taken is not to stay with each session.
const QUEUE_KEPT: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) key: SlotKey,
    pub(super) leader: Pid,
    pub(super) start_time: u64,
    pub(super) stage: Stage,
    /// The leader's exit, once it is reaped.
    pub(super) exit: Option<Exit>,
    pub(super) cols: u16,
    pub(super) rows: u16,
    pub(super) blob: Vec<u8>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// None once everything has been read.
    pub(super) master: Option<OwnedFd>,
    /// Held open while the leader lives: it may close the terminal and open it again, and
    /// until then the master would read EIO.
    pub(super) slave: Option<OwnedFd>,
    pub(super) ring: Writer,
    pub(super) ring_fd: OwnedFd,
    pub(super) wake: OwnedFd,
    pub(super) ledger: Ledger,
    pub(super) queue: VecDeque<u8>,
    /// Input was refused for want of room.
    pub(super) starved: bool,
    /// The ring is full and the terminal is not read.
    pub(super) blocked: bool,
    /// Bytes read of which nobody was told, because more was there to be read at once.
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
    /// Probably there is more: see `quiet`.
    More,
    /// Nothing more for now.
    Pause,
    /// Nothing more will come.
    End,
}

/// The use of a client's bytes, beside being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The program gets them.
    Typed,
    /// Nothing.
    Counted,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notices {
    pub(super) output: bool,
    pub(super) exited: bool,
}

impl Session {
    pub(super) fn entry(&self) -> Entry {
        Entry {
            id: self.id,
            pid: self.leader.as_raw(),
            start_time: self.start_time,
            exit: self.exit,
            cols: self.cols,
            rows: self.rows,
            checkpoint: self.checkpoint.as_ref().map(|checkpoint| checkpoint.meta),
            checkpoint_bytes: self.checkpoint_bytes().map_or(0, |bytes| bytes.length),
        }
    }

    /// The descriptors that go with the entry.
    pub(super) fn fds(&self) -> Fds {
        let (ring, wake) = (self.ring_fd.as_raw_fd(), self.wake.as_raw_fd());
        match self.checkpoint_bytes() {
            Some(bytes) => Fds::Three([ring, wake, bytes.fd.as_raw_fd()]),
            None => Fds::Two([ring, wake]),
        }
    }

    fn checkpoint_bytes(&self) -> Option<&Bytes> {
        self.checkpoint.as_ref()?.bytes.as_ref()
    }

    /// The terminal is readable: reads so many bytes, and tells of them unless there seems to
    /// be more. True: the server has to be told something.
    pub(super) fn read_turn(&mut self, turn: u64) -> bool {
        let found = self.fill(turn);
        if found == Found::More && self.unreported < TOLD_AT_ONCE {
            return false;
        }
        self.tell_of(found)
    }

    /// Where the last reading ended, if nobody was told of it because more is expected.
    pub(super) fn unreported(&self) -> Option<u64> {
        (self.unreported > 0).then(|| self.ring.head())
    }

    /// No more came after this offset: tells of what was read before. True: see
    /// `read_turn`.
    pub(super) fn quiet(&mut self, head: u64) -> bool {
        self.unreported() == Some(head) && self.tell()
    }

    /// Reads what there is, at most what the kernel keeps, and tells of it. True: see
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

    /// Wakes those who wait for what was read. True: see `read_turn`.
    fn tell(&mut self) -> bool {
        self.unreported = 0;
        let Due { wake, watch } = self.ring.due();
        if wake {
            self.wake();
        }
        self.notices.output |= watch;
        watch
    }

    /// Reads at most so many bytes.
    fn fill(&mut self, mut left: u64) -> Found {
        let Some(master) = &self.master else { return Found::Pause };
        while left > 0 && !self.blocked {
            let room = self.ring.room().min(left);
            if room == 0 {
                self.blocked = self.ring.block();
                continue;
            }
            match read(master, self.ring.buffer(room)) {
                Ok(count) if count > 0 => {
                    let bytes = count as u64;
                    self.ring.publish(bytes);
                    left = left.saturating_sub(bytes);
                    self.unreported = self.unreported.saturating_add(bytes);
                    if self.exit.is_some() {
                        self.drained = self.drained.saturating_add(bytes);
                        if self.drained >= DRAIN_MAX {
                            return Found::End;
                        }
                    } else if count < SHORT_READ {
                        return Found::Pause;
                    }
                }
                Err(Errno::EINTR) => {}
                // Before it says so, the kernel moves everything that was written to us.
                Err(Errno::EAGAIN) if self.exit.is_none() => return Found::Pause,
                // EIO: nobody has the other side open any more.
                Ok(_) | Err(_) => return Found::End,
            }
        }
        if self.blocked { Found::Pause } else { Found::More }
    }

    /// The leader is gone: what it has written is still to be read.
    pub(super) fn leader_exited(&mut self, exit: Exit) {
        self.exit = Some(exit);
        self.slave = None;
        self.queue.clear();
        self.write_input();
        // Also where reading had failed: now that is the end.
        self.blocked = false;
        self.ring.unblock();
    }

    /// True while output is to be read although no event may tell so.
    pub(super) fn draining(&self) -> bool {
        self.exit.is_some() && self.master.is_some() && !self.blocked
    }

    /// All output is in the ring. False if the leader lives.
    fn finish(&mut self) -> bool {
        let Some(exit) = self.exit else {
            // We hold the other side open, so this is a failure that reading again would
            // only repeat.
            self.blocked = true;
            return false;
        };
        // Closing it also takes it out of epoll, and hangs up on what is left behind it.
        self.master = None;
        self.watched = EpollFlags::empty();
        self.ring.end(exit);
        self.changed();
        self.notices.exited = true;
        true
    }

    /// After a failure of our own: nothing more is done with the terminal by itself. True:
    /// see `read_turn`.
    pub(super) fn give_up(&mut self, epoll: &Epoll) -> bool {
        self.blocked = true;
        self.queue.clear();
        let watch = self.tell();
        if self.exit.is_some() {
            return self.finish();
        }
        // Only memory can be short; then it is tried, and fails, again.
        let _ = self.watch(epoll);
        watch
    }

    /// The server has made room in the ring. True: see `read_turn`.
    pub(super) fn resume(&mut self) -> bool {
        if !self.blocked || !self.ring.resumable() {
            return false;
        }
        self.blocked = false;
        self.ring.unblock();
        self.read_output()
    }

    /// Queues what is new of a client's keystrokes, as far as there is room.
    pub(super) fn take_input(&mut self, input: &InputTail<'_>, purpose: Purpose) {
        let key = input.key.to_bytes();
        let Some(offer) = self.ledger.offer(key, input.offset, input.bytes.len()) else { return };
        let new = offer.known.and_then(|known| input.bytes.get(known..)).unwrap_or_default();
        let room = QUEUE.saturating_sub(self.queue.len());
        let wanted = match (self.exit, purpose) {
            // After the leader's death there is nobody to accept for.
            (Some(_), _) => 0,
            (None, Purpose::Typed) => room.min(new.len()),
            (None, Purpose::Counted) => new.len(),
        };
        let taken = match purpose {
            Purpose::Counted => wanted,
            // Without memory it is refused like anything for which there is no room.
            Purpose::Typed if self.queue.try_reserve(wanted).is_err() => 0,
            Purpose::Typed => {
                self.queue.extend(new.get(..wanted).unwrap_or_default());
                wanted
            }
        };
        self.ledger.accept(offer.slot, taken);
        self.starved |= taken < new.len();
        let (accepted, seen) = self.ledger.get(offer.slot);
        // Room before the ledger: who sees in it that something was refused looks for room
        // next, and must not see what there was before.
        self.write_input();
        if offer.assigned {
            self.ring.assign_input(offer.slot, key, accepted, seen);
        } else {
            self.ring.set_input(offer.slot, accepted, seen);
        }
        self.wake_refused();
    }

    /// Gives the program what its terminal takes of the queue.
    pub(super) fn write_input(&mut self) {
        if let Some(master) = &self.master {
            loop {
                let (first, _) = self.queue.as_slices();
                if first.is_empty() {
                    if self.queue.capacity() > QUEUE_KEPT {
                        self.queue = VecDeque::new();
                    }
                    break;
                }
                match write(master, first) {
                    Ok(count) => drop(self.queue.drain(..count.min(first.len()))),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    // Nobody will ever read it.
                    Err(_) => self.queue.clear(),
                }
            }
        }
        let free = QUEUE.saturating_sub(self.queue.len());
        self.ring.set_input_free(free as u64);
    }

    /// Tells those whose input was refused that there is room.
    pub(super) fn wake_refused(&mut self) {
        if self.starved && self.queue.len() < QUEUE {
            self.starved = false;
            self.wake();
        }
    }

    /// Keeps a checkpoint in place of the last one; one that is refused changes nothing.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint) -> Result<(), Failure> {
        checkpoint.follows(self.checkpoint.as_ref(), &self.ring)?;
        let offset = checkpoint.meta.offset;
        // In this order: what the ring lets go of is in the checkpoint by then.
        self.checkpoint = Some(checkpoint);
        self.ring.hold_tail(offset);
        Ok(())
    }

    /// Gives the terminal another size. What the program wrote for the old one is read
    /// first, so that the stamp stands behind it. True: see `read_turn`.
    pub(super) fn resize(&mut self, cols: u16, rows: u16) -> Result<bool, Errno> {
        let tell = self.read_output();
        let Some(master) = &self.master else { return Ok(tell) };
        pty::set_size(master.as_fd(), cols, rows)?;
        (self.cols, self.rows) = (cols, rows);
        self.ring.stamp_resize(cols, rows);
        self.changed();
        Ok(tell)
    }

    /// Signals the foreground group, or else the leader. The number 0 only asks.
    pub(super) fn signal(&self, signal: i32) -> Result<(), Errno> {
        let (None, Some(master)) = (self.exit, &self.master) else { return Err(Errno::ESRCH) };
        if let Some(group) = pty::foreground_group(master.as_fd(), self.leader)
            && sys::kill_group(group, signal).is_ok()
        {
            return Ok(());
        }
        // Not reaped yet, so the number is still its own.
        sys::kill(self.leader, signal)
    }

    /// Has epoll watch the master for what can be done with it now.
    pub(super) fn watch(&mut self, epoll: &Epoll) -> Result<(), Errno> {
        let Some(master) = &self.master else { return Ok(()) };
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, !self.blocked);
        wanted.set(EpollFlags::EPOLLOUT, !self.queue.is_empty());
        if wanted == self.watched {
            return Ok(());
        }
        let mut event = EpollEvent::new(wanted, Token::Terminal(self.key).word());
        // One without flags would still be told of a hang-up, for ever.
        match (self.watched.is_empty(), wanted.is_empty()) {
            (true, _) => epoll.add(master, event)?,
            (false, false) => epoll.modify(master, &mut event)?,
            (false, true) => epoll.delete(master)?,
        }
        self.watched = wanted;
        Ok(())
    }

    /// Something without an offset has changed.
    fn changed(&mut self) {
        if self.ring.anybody() {
            self.wake();
        }
    }

    fn wake(&self) {
        // Full means that there were more wakes than anybody will ever miss.
        let _ = write(&self.wake, &1u64.to_ne_bytes());
    }
}
