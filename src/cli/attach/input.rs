//! Input that the server has not accepted yet. It is sent again after a reconnect, so that every
//! byte arrives exactly once.

use bytes::{Buf, Bytes, BytesMut};

/// The longest input message, in bytes.
const MESSAGE_MAX: usize = 16 << 10;

/// Input bytes, counted from 0 since this client began.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// The number of bytes that the server has accepted.
    accepted: u64,
    /// The bytes after `accepted`.
    kept: BytesMut,
    /// The number of bytes of `kept` that were sent on this connection.
    sent: usize,
    /// The number of bytes of `kept` that were sent on the last connection.
    went_out: usize,
    /// The number of bytes that may be sent and unaccepted; 0 while there is no connection.
    window: usize,
}

impl Input {
    /// Adds typed bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    /// The number of bytes that are not accepted yet.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Continues after the session was restarted. Bytes that were sent were for the old program;
    /// those typed after them are for the new one, which has accepted `accepted` bytes. Returns the
    /// number of bytes for the old program that are dropped unaccepted.
    pub(super) fn start_again(&mut self, accepted: u64) -> usize {
        let dropped = self.went_out.min(self.kept.len());
        self.kept.advance(dropped);
        self.accepted = accepted;
        dropped
    }

    /// Notes that a connection is open, before which the server had accepted this much.
    pub(super) fn open(&mut self, accepted: u64, window: u64) {
        if accepted < self.accepted {
            // The server has forgotten this client and counts from 0. Input that it had accepted
            // stays accepted.
            self.accepted = accepted;
        }
        (self.sent, self.went_out) = (0, 0);
        self.accept(accepted);
        self.window = usize::try_from(window).unwrap_or(usize::MAX);
    }

    /// Notes that the connection is gone.
    pub(super) fn close(&mut self) {
        self.window = 0;
        // A refused connection sends nothing, so keep the larger number.
        self.went_out = self.went_out.max(self.sent);
        self.sent = 0;
    }

    /// Notes that the server has accepted this many bytes in all.
    pub(super) fn accept(&mut self, accepted: u64) {
        let more = accepted.saturating_sub(self.accepted);
        let done = self.kept.len().min(usize::try_from(more).unwrap_or(usize::MAX));
        self.kept.advance(done);
        self.sent = self.sent.saturating_sub(done);
        self.accepted += more;
    }

    /// The next message to send, if the window allows one.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let end = self.kept.len().min(self.window).min(self.sent + MESSAGE_MAX);
        if end <= self.sent {
            return None;
        }
        let message = Bytes::copy_from_slice(&self.kept[self.sent..end]);
        self.sent = end;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Type(usize),
        /// Everything in flight arrives, and so does the answer.
        Deliver,
        /// Everything in flight arrives, but the answer is lost with the connection.
        BreakAfter,
        /// This many bytes in flight arrive before the connection breaks.
        BreakAt(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..60_000_usize).prop_map(Step::Type),
            Just(Step::Deliver),
            Just(Step::BreakAfter),
            (0..40_000_usize).prop_map(Step::BreakAt),
        ]
    }

    const WINDOW: u64 = 64 << 10;

    proptest! {
        #[test]
        fn every_byte_arrives_once_in_order_and_within_the_window(
            steps in prop::collection::vec(step(), 1..40)
        ) {
            let mut input = Input::default();
            let (mut typed, mut received): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
            input.open(0, WINDOW);
            for step in steps.into_iter().chain((0..99).map(|_| Step::Deliver)) {
                if let Step::Type(n) = step {
                    let bytes: Vec<u8> = (typed.len()..typed.len() + n).map(|i| (i / 7) as u8).collect();
                    input.push(&bytes);
                    typed.extend(bytes);
                    continue;
                }
                let before = received.len() as u64;
                let in_flight: Vec<u8> = std::iter::from_fn(|| input.next()).flatten().collect();
                prop_assert!(in_flight.len() as u64 <= WINDOW);
                let arriving = match step {
                    Step::BreakAt(n) => in_flight.len().min(n),
                    _ => in_flight.len(),
                };
                received.extend(&in_flight[..arriving]);
                prop_assert!(received.len() as u64 - before <= WINDOW);
                if matches!(step, Step::Deliver) {
                    input.accept(received.len() as u64);
                } else {
                    input.close();
                    prop_assert_eq!(input.next(), None);
                    input.open(received.len() as u64, WINDOW);
                }
            }
            prop_assert_eq!(input.len(), 0);
            prop_assert!(received == typed);
        }
    }

    #[test]
    fn nothing_is_sent_beyond_the_window() {
        let mut input = Input::default();
        input.push(b"0123456789");
        assert_eq!(input.next(), None, "not connected");
        input.open(0, 4);
        assert_eq!(input.next().unwrap(), "0123");
        assert_eq!(input.next(), None);
        input.accept(1);
        assert_eq!(input.next().unwrap(), "4");
        input.accept(1);
        assert_eq!(input.next(), None, "an answer that says nothing new");
    }

    #[test]
    fn what_went_out_to_a_command_that_is_gone_is_not_typed_into_the_next() {
        let mut input = Input::default();
        input.open(0, 100);
        input.push(b"abcd");
        input.next();
        input.accept(2);
        input.close();
        input.close();
        input.push(b"ef");
        assert_eq!(input.start_again(7), 2);
        input.open(7, 100);
        assert_eq!(input.next().unwrap(), "ef");
        input.accept(9);
        assert_eq!(input.len(), 0);
    }

    #[test]
    fn a_server_that_forgot_the_client_gets_what_is_unaccepted() {
        let mut input = Input::default();
        input.open(0, 100);
        input.push(b"abc");
        input.next();
        input.accept(2);
        input.close();
        input.open(0, 100);
        assert_eq!(input.next().unwrap(), "c");
        input.accept(1);
        assert_eq!(input.len(), 0);
    }
}
