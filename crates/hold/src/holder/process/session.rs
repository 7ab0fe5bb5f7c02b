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

/// Bytes of a flood between two notices to the server, since each wake-up costs it a turn.
const TOLD_AT_ONCE: u64 = IN_FLIGHT;
/// A read shorter than this has most probably emptied the terminal. Leaving the rest to the next
/// event saves a read that says EAGAIN for each echoed keystroke.
const SHORT_READ: usize = 1 << 10;
/// The most bytes read from a terminal after its leader's death. The kernel buffers less than this,
/// so anything after it was written later, by a background process.
const DRAIN_MAX: u64 = 1 << 20;

/// The bytes of memory that an empty input queue keeps: enough for keystrokes. The memory that a
/// paste has needed is freed.
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
    /// The master; `None` once everything has been read.
    pub(super) master: Option<OwnedFd>,
    /// The slave, held open while the leader lives. The leader may close the terminal and open it
    /// again, and in between the master would read EIO.
    pub(super) slave: Option<OwnedFd>,
    pub(super) ring: Writer,
    pub(super) ring_fd: OwnedFd,
    pub(super) wake: OwnedFd,
    pub(super) ledger: Ledger,
    pub(super) queue: VecDeque<u8>,
    /// Whether input was refused for lack of room.
    pub(super) starved: bool,
    /// Whether the ring is full and the terminal is not read.
    pub(super) blocked: bool,
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

    /// The descriptors that are sent with the entry.
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
        self.slave = None;
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
        let room = QUEUE.saturating_sub(self.queue.len());
        let wanted = match (self.exit, purpose) {
            // After the leader's death no input is accepted.
            (Some(_), _) => 0,
            (None, Purpose::Typed) => room.min(new.len()),
            (None, Purpose::Counted) => new.len(),
        };
        let taken = match purpose {
            Purpose::Counted => wanted,
            // A shortage of memory refuses input in the same way as a full queue.
            Purpose::Typed if self.queue.try_reserve(wanted).is_err() => 0,
            Purpose::Typed => {
                self.queue.extend(new.get(..wanted).unwrap_or_default());
                wanted
            }
        };
        self.ledger.accept(offer.slot, taken);
        self.starved |= taken < new.len();
        let (accepted, seen) = self.ledger.get(offer.slot);
        // Publish the room before the ledger: a reader that sees a refusal in the ledger looks at
        // the room next, and must not see the old value.
        self.write_input();
        if offer.assigned {
            self.ring.assign_input(offer.slot, key, accepted, seen);
        } else {
            self.ring.set_input(offer.slot, accepted, seen);
        }
        self.wake_refused();
    }

    /// Writes as much of the queue to the terminal as it takes.
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

    /// Wakes the clients whose input was refused, because there is room.
    pub(super) fn wake_refused(&mut self) {
        if self.starved && self.queue.len() < QUEUE {
            self.starved = false;
            self.wake();
        }
    }

    /// Keeps a checkpoint in place of the last one. A refused one changes nothing.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint) -> Result<(), Failure> {
        checkpoint.follows(self.checkpoint.as_ref(), &self.ring)?;
        let offset = checkpoint.meta.offset;
        // The order matters: the checkpoint is stored before the ring drops the output that it
        // covers.
        self.checkpoint = Some(checkpoint);
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
        pty::set_size(master.as_fd(), cols, rows)?;
        (self.cols, self.rows) = (cols, rows);
        self.ring.stamp_resize(cols, rows);
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
        let _ = write(&self.wake, &1u64.to_ne_bytes());
    }
}
