//! One client's input on its way to the holder: received, sent, accepted. Pure. Offsets count this
//! client's input bytes from its beginning.

use crate::protocol::INPUT_WINDOW;
use crate::ring::Input;
use std::collections::VecDeque;
use std::ops::Range;

/// The longest piece sent to the holder in one message, in bytes.
const PIECE: u64 = 16 << 10;

/// Bytes that the holder has not accepted yet, with their offsets.
#[derive(Debug)]
pub struct Pending {
    bytes: VecDeque<u8>,
    /// The offset of the first byte in `bytes`; everything before it was accepted.
    accepted: u64,
    /// The offset up to which the input was sent to the holder.
    sent: u64,
    /// The ranges that only count, in order. See [`Piece::counted`].
    counted: VecDeque<Range<u64>>,
}

/// Bytes to send in one message.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The offset of the first byte.
    pub offset: u64,
    /// The bytes, at least one.
    pub bytes: &'a [u8],
    /// Whether the bytes only count as received and are not for the program. See
    /// [`crate::holder::Holder::count_input`].
    pub counted: bool,
}

impl Pending {
    /// Starts at the offset in the holder's ledger.
    #[must_use]
    pub fn starting_at(accepted: u64) -> Self {
        Pending { bytes: VecDeque::new(), accepted, sent: accepted, counted: VecDeque::new() }
    }

    /// The number of bytes received and not yet accepted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything received was accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The offset up to which the input was accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes received since the client's beginning.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.accepted + self.bytes.len() as u64
    }

    /// Takes bytes from the client.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Takes bytes from the client that only count as received.
    pub fn push_counted(&mut self, bytes: &[u8]) {
        let from = self.end();
        self.push(bytes);
        self.counted.push_back(from..self.end());
    }

    /// Applies the holder's report. Bytes that the holder refused are sent again.
    pub fn settle(&mut self, ledger: Input, room: bool) {
        let accepted = ledger.accepted.clamp(self.accepted, self.sent);
        // The result is bounded by the length of `bytes`, so it fits.
        self.bytes.drain(..(accepted - self.accepted) as usize);
        self.accepted = accepted;
        while self.counted.front().is_some_and(|counted| counted.end <= accepted) {
            self.counted.pop_front();
        }
        if ledger.seen >= self.sent && accepted < self.sent && room {
            self.sent = accepted;
        }
    }

    /// The next piece to send, if there is unsent input. No more is in flight than fits into the
    /// holder's queue: it would be refused, and sent again each time there is a little room.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        let offset = self.sent;
        let mut end = self.end().min(offset + PIECE).min(self.accepted + INPUT_WINDOW);
        if offset == end {
            return None;
        }
        let next = self.counted.iter().find(|counted| counted.end > offset);
        let counted = next.is_some_and(|counted| counted.start <= offset);
        if let Some(next) = next {
            end = end.min(if counted { next.end } else { next.start });
        }
        self.sent = end;
        // Both are bounded by the length of `bytes`, so they fit.
        let (from, to) = ((offset - self.accepted) as usize, (end - self.accepted) as usize);
        Some(Piece { offset, bytes: &self.bytes.make_contiguous()[from..to], counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refused_rest_is_sent_again() {
        let mut pending = Pending::starting_at(10);
        pending.push(b"abcdef");
        assert_eq!(pending.next_piece(), Some(typed(10, b"abcdef")));
        assert_eq!(pending.next_piece(), None);
        pending.settle(Input { accepted: 12, seen: 16 }, false);
        assert_eq!(pending.next_piece(), None, "no room yet");
        pending.settle(Input { accepted: 12, seen: 16 }, true);
        assert_eq!(pending.next_piece(), Some(typed(12, b"cdef")));
        pending.settle(Input { accepted: 16, seen: 16 }, true);
        assert!(pending.is_empty());
        assert_eq!(pending.accepted(), 16);
    }

    fn typed(offset: u64, bytes: &[u8]) -> Piece<'_> {
        Piece { offset, bytes, counted: false }
    }

    #[test]
    fn what_only_counts_goes_by_itself_also_the_second_time() {
        let mut pending = Pending::starting_at(5);
        pending.push(b"ab");
        pending.push_counted(b"report");
        pending.push(b"cd");
        for _ in 0..2 {
            assert_eq!(pending.next_piece(), Some(typed(5, b"ab")));
            let report = Piece { offset: 7, bytes: b"report", counted: true };
            assert_eq!(pending.next_piece(), Some(report));
            assert_eq!(pending.next_piece(), Some(typed(13, b"cd")));
            assert_eq!(pending.next_piece(), None);
            pending.settle(Input { accepted: 5, seen: 15 }, true);
        }
        while pending.next_piece().is_some() {}
        pending.settle(Input { accepted: 9, seen: 15 }, true);
        let rest = Piece { offset: 9, bytes: b"port", counted: true };
        assert_eq!(pending.next_piece(), Some(rest));
    }

    #[test]
    fn what_is_under_way_is_not_sent_twice() {
        let mut pending = Pending::starting_at(0);
        pending.push(b"ab");
        assert!(pending.next_piece().is_some());
        pending.settle(Input { accepted: 0, seen: 0 }, true);
        assert_eq!(pending.next_piece(), None);
    }

    proptest! {
        /// A holder with little room that answers at random moments gets every byte once, in order.
        #[test]
        fn every_byte_arrives_once(pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
                                   rooms in prop::collection::vec(0usize..30, 0..200)) {
            let mut pending = Pending::starting_at(0);
            let (mut typed, mut arrived): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
            let mut seen = 0;
            // Every round takes a push or a report. After the last one there is room for
            // everything.
            let rounds = pushes.len() + rooms.len() + 1;
            let (mut pushes, mut rooms) = (pushes.into_iter(), rooms.into_iter());
            for _ in 0..rounds {
                if let Some(bytes) = pushes.next() {
                    typed.extend(&bytes);
                    pending.push(&bytes);
                }
                while let Some(Piece { offset, bytes, .. }) = pending.next_piece() {
                    let room = rooms.next().unwrap_or(usize::MAX);
                    prop_assert!(offset <= arrived.len() as u64 || seen >= offset);
                    if offset == arrived.len() as u64 {
                        arrived.extend(&bytes[..bytes.len().min(room)]);
                    }
                    seen = seen.max(offset + bytes.len() as u64);
                }
                pending.settle(Input { accepted: arrived.len() as u64, seen }, true);
            }
            prop_assert!(pending.is_empty());
            prop_assert_eq!(arrived, typed);
        }
    }
}
