//! What one end of a stream knows of it: numbers, windows, and what is unread. It decides, and sends nothing
//! itself.
//!
//! Nothing is repaired here. A message that is missing, too many or too late ends the stream, and who uses
//! it begins again where it was: clients of sessions resume by offset, and their input is numbered.

use super::wire::{Frame, WINDOW, cost, fits};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a message without an answer the other side is asked what it has.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// How long after a message without an answer the stream is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// The state of one end.
pub(super) struct Flow {
    unread: VecDeque<Bytes>,
    /// The number of the next message that is to come.
    next_in: u64,
    /// What messages count that have been read, and of those that have come.
    read: u64,
    come: u64,
    /// What the other side was told that it may send in all.
    promised: u64,
    has_ended: bool,
    /// The number of the next message that is sent.
    next_out: u64,
    /// What messages count that were sent.
    sent: u64,
    /// What may be sent in all.
    limit: u64,
    /// Since when the other side has not said that it has all messages.
    unconfirmed: Option<Instant>,
    confirmed: u64,
    is_ended: bool,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes were copied.
    Some(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("messages of the stream were lost on the way")]
    Gap,
    #[error("the other side sends more than the window allows")]
    TooMuch,
    #[error("the other side sends after it has ended the stream")]
    AfterEnd,
    #[error("the other side does not answer")]
    Late,
}

impl Default for Flow {
    fn default() -> Self {
        Flow {
            unread: VecDeque::new(),
            next_in: 0,
            read: 0,
            come: 0,
            promised: WINDOW,
            has_ended: false,
            next_out: 0,
            sent: 0,
            limit: WINDOW,
            unconfirmed: None,
            confirmed: 0,
            is_ended: false,
        }
    }
}

impl Flow {
    /// Bytes have come.
    pub(super) fn comes(&mut self, number: u64, bytes: Bytes) -> Result<(), Fault> {
        self.counts(number)?;
        self.come += cost(bytes.len());
        if self.come > self.promised {
            return Err(Fault::TooMuch);
        }
        self.unread.push_back(bytes);
        Ok(())
    }

    /// The other side has ended its direction.
    pub(super) fn other_ends(&mut self, number: u64) -> Result<(), Fault> {
        self.counts(number)?;
        self.has_ended = true;
        Ok(())
    }

    fn counts(&mut self, number: u64) -> Result<(), Fault> {
        if self.has_ended {
            return Err(Fault::AfterEnd);
        }
        if number != self.next_in {
            return Err(Fault::Gap);
        }
        self.next_in += 1;
        Ok(())
    }

    /// Copies what has come into a buffer.
    pub(super) fn read_into(&mut self, buffer: &mut tokio::io::ReadBuf<'_>) -> Read {
        let mut copied = 0;
        while let Some(first) = self.unread.front_mut() {
            let length = first.len().min(buffer.remaining());
            if length == 0 {
                break;
            }
            buffer.put_slice(&first.split_to(length));
            copied += length;
            self.read += length as u64;
            if first.is_empty() {
                self.read += cost(0);
                self.unread.pop_front();
            }
        }
        match copied {
            0 if self.unread.is_empty() && self.has_ended => Read::End,
            0 => Read::Nothing,
            copied => Read::Some(copied),
        }
    }

    /// What the other side is to be told of room, if it is worth a message.
    pub(super) fn credit(&mut self) -> Option<Frame> {
        let limit = self.read + WINDOW;
        let is_due = !self.has_ended && limit - self.promised >= WINDOW / 4;
        is_due.then(|| self.tell())
    }

    fn tell(&mut self) -> Frame {
        self.promised = self.read + WINDOW;
        Frame::Credit { next: self.next_in, limit: self.promised }
    }

    /// The other side asks what has come.
    pub(super) fn asked(&mut self, next: u64) -> Result<Frame, Fault> {
        if next > self.next_in { Err(Fault::Gap) } else { Ok(self.tell()) }
    }

    /// The other side says what has come, and what it has room for.
    pub(super) fn told(&mut self, next: u64, limit: u64, now: Instant) {
        self.limit = self.limit.max(limit.min(self.sent + WINDOW));
        if next > self.confirmed {
            self.confirmed = next.min(self.next_out);
            self.unconfirmed = Some(now);
        }
        if self.confirmed == self.next_out {
            self.unconfirmed = None;
        }
    }

    /// The most bytes that may be sent now.
    pub(super) fn room(&self) -> usize {
        fits(self.limit - self.sent)
    }

    /// So many bytes are sent: the number of their message.
    pub(super) fn sends(&mut self, length: usize, now: Instant) -> u64 {
        self.sent += cost(length);
        self.counts_out(now)
    }

    /// This direction ends: the number of the message that says so; `None`: it has ended before.
    pub(super) fn ends(&mut self, now: Instant) -> Option<u64> {
        if self.is_ended {
            return None;
        }
        self.is_ended = true;
        Some(self.counts_out(now))
    }

    fn counts_out(&mut self, now: Instant) -> u64 {
        self.unconfirmed.get_or_insert(now);
        self.next_out += 1;
        self.next_out - 1
    }

    /// Whether this direction has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether both have.
    pub(super) fn is_over(&self) -> bool {
        self.is_ended && self.has_ended
    }

    /// What is to be asked, now and then, so that a message that was lost is noticed.
    pub(super) fn ask(&self, now: Instant) -> Result<Option<Frame>, Fault> {
        let Some(since) = self.unconfirmed else { return Ok(None) };
        let waited = now.saturating_duration_since(since);
        if waited >= GIVE_UP_AFTER {
            return Err(Fault::Late);
        }
        Ok((waited >= ASK_AFTER).then_some(Frame::Mark { next: self.next_out }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::ReadBuf;

    fn read(flow: &mut Flow, most: usize) -> (Read, Vec<u8>) {
        let mut space = vec![0; most];
        let mut buffer = ReadBuf::new(&mut space);
        let read = flow.read_into(&mut buffer);
        let bytes = buffer.filled().to_vec();
        (read, bytes)
    }

    #[test]
    fn bytes_come_in_order_and_once() {
        let mut flow = Flow::default();
        flow.comes(0, Bytes::from_static(b"hello ")).unwrap();
        flow.comes(1, Bytes::from_static(b"world")).unwrap();
        assert_eq!(read(&mut flow, 8), (Read::Some(8), b"hello wo".to_vec()));
        assert_eq!(read(&mut flow, 8), (Read::Some(3), b"rld".to_vec()));
        assert_eq!(read(&mut flow, 8), (Read::Nothing, vec![]));
        flow.other_ends(2).unwrap();
        assert_eq!(read(&mut flow, 8), (Read::End, vec![]));
        assert_eq!(flow.comes(3, Bytes::from_static(b"x")), Err(Fault::AfterEnd));
    }

    #[test]
    fn a_message_that_is_missing_or_twice_there_is_a_gap() {
        for number in [0, 2] {
            let mut flow = Flow::default();
            flow.comes(0, Bytes::from_static(b"x")).unwrap();
            assert_eq!(flow.comes(number, Bytes::from_static(b"x")), Err(Fault::Gap));
        }
        let mut flow = Flow::default();
        assert_eq!(flow.asked(1), Err(Fault::Gap), "the last one was lost");
        assert!(flow.asked(0).is_ok());
    }

    #[test]
    fn nobody_can_send_more_than_there_is_room_for() {
        let (mut from, mut to) = (Flow::default(), Flow::default());
        let now = Instant::now();
        let mut total = 0;
        while from.room() > 0 {
            let bytes = Bytes::from(vec![0; from.room()]);
            total += bytes.len();
            to.comes(from.sends(bytes.len(), now), bytes).unwrap();
        }
        assert!(total as u64 > WINDOW / 2 && total as u64 <= WINDOW);
        assert_eq!(to.comes(from.next_out, Bytes::from_static(b"x")), Err(Fault::TooMuch));
        // What is read gives room again.
        let mut to = Flow { next_in: from.next_out, ..to };
        assert_eq!(to.credit(), None);
        read(&mut to, total);
        let Some(Frame::Credit { next, limit }) = to.credit() else { panic!("there is room") };
        from.told(next, limit, now);
        assert!(from.room() > 0);
        assert_eq!(to.credit(), None, "it is said once");
    }

    #[test]
    fn a_side_cannot_promise_more_than_a_window() {
        let mut flow = Flow::default();
        flow.told(0, u64::MAX, Instant::now());
        assert_eq!(flow.limit, WINDOW);
    }

    #[tokio::test]
    async fn what_is_not_answered_is_asked_for_and_then_given_up() {
        let mut flow = Flow::default();
        let start = Instant::now();
        assert_eq!(flow.ask(start + GIVE_UP_AFTER), Ok(None), "nothing was sent");
        flow.sends(1, start);
        flow.sends(1, start);
        assert_eq!(flow.ask(start), Ok(None));
        assert_eq!(flow.ask(start + ASK_AFTER), Ok(Some(Frame::Mark { next: 2 })));
        flow.told(1, WINDOW, start + ASK_AFTER);
        assert_eq!(
            flow.ask(start + GIVE_UP_AFTER),
            Ok(Some(Frame::Mark { next: 2 })),
            "it goes on"
        );
        assert_eq!(flow.ask(start + ASK_AFTER + GIVE_UP_AFTER), Err(Fault::Late));
        flow.told(2, WINDOW, start + GIVE_UP_AFTER);
        assert_eq!(flow.ask(start + 9 * GIVE_UP_AFTER), Ok(None));
    }
}
