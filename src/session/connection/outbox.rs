//! A connection's actor and its response body share an [`Outbox`], on one thread: control messages
//! on their way out, and the client's progress as it reports it.

use super::dialect::Dialect;
use crate::protocol::{CloseCode, ServerMessage};
use actix_codec::Encoder;
use actix_http::ws::{CloseReason, Codec, Message};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Control messages that may wait for one client: hours of pings.
const CONTROL_MAX: usize = 1024;

/// Bytes that may be on their way: a second's worth with a picture, at a megabit.
const WINDOW: u64 = 32 << 10;
/// Bytes of output that are skipped rather than sent late.
pub(super) const SKIP_LAG: u64 = 256 << 10;
/// The longest picture for such a client, in bytes.
pub(crate) const SKIP_PICTURE: usize = 64 << 10;

/// The last frames of a connection.
#[derive(Debug)]
pub(crate) struct Closing {
    /// Sent before the close frame.
    pub(crate) farewell: Option<Message>,
    pub(crate) close: CloseReason,
    /// Whether all output is to be sent first (the session ended) or not (the client is
    /// in the way).
    pub(crate) after_output: bool,
}

/// One per connection.
#[derive(Debug, Default)]
pub struct Outbox {
    control: RefCell<VecDeque<Message>>,
    /// The session's state, where the client has not been told of it: an older one is of no
    /// use to it.
    state: RefCell<Option<ByteString>>,
    closing: RefCell<Option<Closing>>,
    /// A closing was decided, whether it was taken meanwhile or not.
    closes: Cell<bool>,
    acked: Cell<Option<u64>>,
    heard: Cell<u64>,
    /// When the client typed what it has seen no output after.
    typed: Cell<Option<Instant>>,
    peer_closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Outbox {
    /// Queues a control message. They are few and small; a client that makes the server
    /// talk and does not listen is closed.
    pub(crate) fn push(&self, message: Message) {
        if self.control.borrow().len() >= CONTROL_MAX {
            self.close(CloseCode::TooMuch, "control messages are not being read");
            return;
        }
        self.control.borrow_mut().push_back(message);
        self.wake();
    }

    /// Queues messages before those that wait.
    pub(crate) fn push_first(&self, messages: Vec<Message>) {
        let mut control = self.control.borrow_mut();
        for message in messages.into_iter().rev() {
            control.push_front(message);
        }
        drop(control);
        self.wake();
    }

    /// Replaces what the client is to be told of the session's state.
    pub(super) fn set_state(&self, state: ByteString) {
        self.state.replace(Some(state));
        self.wake();
    }

    pub(crate) fn pop(&self) -> Option<Message> {
        let next = self.control.borrow_mut().pop_front();
        next.or_else(|| self.state.take().map(Message::Text))
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.control.borrow().is_empty() && self.state.borrow().is_none()
    }

    /// The client has rendered all output before `offset`.
    pub(crate) fn ack(&self, offset: u64) {
        self.acked.set(Some(self.acked.get().unwrap_or(0).max(offset)));
        self.wake();
    }

    /// The last acknowledgement; `None` for a client that sends none.
    pub(crate) fn acked(&self) -> Option<u64> {
        self.acked.get()
    }

    /// A pong says how many bytes have arrived at the client.
    pub(super) fn hear(&self, arrived: u64) {
        self.heard.set(self.heard.get().max(arrived));
        self.wake();
    }

    /// Bytes that have arrived, as far as its pongs say.
    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// The client types now.
    pub(super) fn typed(&self) {
        if self.typed.get().is_none() {
            self.typed.set(Some(Instant::now()));
        }
    }

    /// The time since the client typed, once: for the first output that is sent after that.
    pub(super) fn echoed(&self) -> Option<Duration> {
        self.typed.take().map(|at| at.elapsed())
    }

    /// Ends the connection. The first reason counts, but one that waits for all output to be
    /// sent gives way to one that does not.
    pub(crate) fn close_with(&self, closing: Closing) {
        let waits = self.closing_after_output() == Some(true);
        if !self.closes.replace(true) || (waits && !closing.after_output) {
            self.closing.replace(Some(closing));
        }
        self.wake();
    }

    /// Whether the connection is to end: what its client still sends has no effect.
    pub(crate) fn is_closing(&self) -> bool {
        self.closes.get()
    }

    /// Ends the connection at once, for this reason.
    pub(crate) fn close(&self, code: CloseCode, why: &str) {
        self.close_with(Closing {
            farewell: None,
            close: close_reason(code, why),
            after_output: false,
        });
    }

    /// Whether the connection ends, and after what.
    pub(crate) fn closing_after_output(&self) -> Option<bool> {
        self.closing.borrow().as_ref().map(|closing| closing.after_output)
    }

    pub(crate) fn take_closing(&self) -> Option<Closing> {
        self.closing.borrow_mut().take()
    }

    /// The peer is gone or has said goodbye: nothing more is owed to it.
    pub(crate) fn peer_closed(&self) {
        self.peer_closed.set(true);
        self.wake();
    }

    pub(crate) fn is_peer_closed(&self) -> bool {
        self.peer_closed.get()
    }

    /// Registers the task to wake when there is something to send. Called before checking for it.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match slot.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        // Taken out first: waking may poll at once and register again.
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A close frame's content. Its text says whether to retry (at most 123 bytes, RFC 6455).
pub(crate) fn close_reason(code: CloseCode, why: &str) -> CloseReason {
    let retry = match code {
        CloseCode::GoingAway => "; reconnect",
        _ => "; do not retry",
    };
    let room = 123 - retry.len();
    let mut end = why.len().min(room);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    CloseReason { code: code.code().into(), description: Some(format!("{}{retry}", &why[..end])) }
}

/// The frames that end a WebSocket to which no session belongs: an error message (where the dialect
/// has one) and a close frame.
pub(crate) fn close_frames(
    dialect: Dialect,
    error: Option<&ServerMessage>,
    code: CloseCode,
    reason: &str,
) -> Bytes {
    let (mut codec, mut frames) = (Codec::new(), BytesMut::new());
    let error = error.and_then(|error| dialect.control(error));
    for message in error.into_iter().chain([Message::Close(Some(close_reason(code, reason)))]) {
        // Only a fragmented message could be refused, and these are whole.
        let _ = codec.encode(message, &mut frames);
    }
    frames.freeze()
}

/// Counts the bytes on their way to a client that may skip, pictures included. Sockets take
/// megabytes that a slow network delivers seconds later; so that such a client sees what is now, it
/// is sent little at once, and its pongs say what has arrived.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: u64,
}

impl InFlight {
    /// More was sent; this ping follows it.
    pub(super) fn sent(&mut self, length: usize) -> Message {
        self.sent += length as u64;
        Message::Ping(self.sent.to_be_bytes().to_vec().into())
    }

    /// The bytes that may still be sent when `heard` bytes have arrived.
    pub(super) fn room(&self, heard: u64) -> u64 {
        WINDOW.saturating_sub(self.sent.saturating_sub(heard))
    }

    /// Everything has arrived.
    pub(super) fn is_over(&self, heard: u64) -> bool {
        heard >= self.sent
    }
}

/// The number of bytes that have arrived, by this pong; `None`: it answers another ping.
pub(super) fn arrived(pong: &[u8]) -> Option<u64> {
    pong.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame_and_say_whether_to_retry() {
        let long = "é".repeat(200);
        let reason = close_reason(CloseCode::GoingAway, &long).description.unwrap();
        assert!(reason.len() <= 123 && reason.ends_with("reconnect"), "{reason}");
        let reason = close_reason(CloseCode::TakenOver, "taken over");
        assert_eq!(reason.description.unwrap(), "taken over; do not retry");
    }

    #[test]
    fn of_the_states_that_wait_the_last_is_told_after_all_else() {
        let outbox = Outbox::default();
        outbox.set_state("old".into());
        outbox.push(Message::Ping(bytes::Bytes::new()));
        outbox.set_state("new".into());
        assert_eq!(outbox.pop(), Some(Message::Ping(bytes::Bytes::new())));
        assert_eq!(outbox.pop(), Some(Message::Text("new".into())));
        assert!(outbox.pop().is_none() && outbox.is_empty());
    }

    #[test]
    fn the_first_closing_counts_and_acks_only_grow() {
        let outbox = Outbox::default();
        outbox.close(CloseCode::TooMuch, "a");
        outbox.close(CloseCode::GoingAway, "b");
        let closing = outbox.take_closing().unwrap();
        assert_eq!(u16::from(closing.close.code), 1009);
        for (acked, is) in [(4, 4), (9, 9), (7, 9)] {
            outbox.ack(acked);
            assert_eq!(outbox.acked(), Some(is));
        }
    }

    #[test]
    fn what_arrives_makes_room() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.is_over(0));
        let Message::Ping(ping) = in_flight.sent(1000) else { panic!("no ping") };
        assert_eq!(arrived(&ping), Some(1000));
        assert_eq!((in_flight.room(0), in_flight.is_over(999)), (WINDOW - 1000, false));
        in_flight.sent(1 << 20);
        assert_eq!(in_flight.room(1000), 0);
        assert_eq!(in_flight.room(u64::MAX), WINDOW);
        assert!(in_flight.is_over(1000 + (1 << 20)));
        assert_eq!(arrived(b"heartbeat"), None);
    }
}
