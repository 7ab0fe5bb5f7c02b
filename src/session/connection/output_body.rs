//! The response body that pulls one client's bytes from the ring. There is no queue: what
//! the socket does not take stays in the ring, and a client that the ring overtakes is
//! started again from a known offset.

use super::super::handle::SessionHandle;
use super::super::readers::ReadFrom;
use super::actor::{BodyDropped, Connection};
use super::dialect::{Dialect, json, put_binary_header};
use super::outbox::{InFlight, Outbox, SKIP_LAG};
use super::picture::{Drawn, Picture, RESET, draw};
use crate::protocol::{ACK_WINDOW, JsonServerMessage, ServerMessage};
use crate::text::TextCarry;
use actix::Addr;
use actix_codec::Encoder;
use actix_http::ws::{Codec, Message};
use actix_web::body::{BodySize, MessageBody};
use actix_web::rt::time::{Sleep, sleep};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Output bytes in one frame: measured as the best between copies and wake-ups.
const FRAME: usize = 16 << 10;
/// Output bytes handed to the socket at once.
const BATCH: usize = 32 << 10;
/// Between two pictures for a client that skips: more would cost the programs' cores.
const REST: Duration = Duration::from_millis(100);
/// A client has this long to answer a close frame before its socket is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// Whether a client holds the program back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// The program runs at the speed of its fastest such client.
    #[default]
    Follow,
    /// Never, since who may not type holds nobody back. It is sent all that the ring still
    /// has, and started again where the ring has overtaken it.
    Trail,
    /// Never: it is shown what is now, and what it misses is skipped.
    Skip,
}

/// What makes the first control message from the offset of the first byte of output and
/// the terminal's size there.
type Greet = Box<dyn FnOnce(u64, (u16, u16)) -> ServerMessage>;

/// Where a client's output begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The client has everything before this offset.
    At(u64),
    /// The client has nothing.
    Fresh,
}

enum State {
    Open,
    /// The close frame was sent; waiting for the client's own, so that the kernel does not
    /// throw away what is still on its way to it.
    Closing(Pin<Box<Sleep>>),
    Closed,
}

/// One client's output.
pub struct OutputBody {
    connection: Addr<Connection>,
    handle: Arc<SessionHandle>,
    outbox: Rc<Outbox>,
    wake: AsyncFd<OwnedFd>,
    dialect: Dialect,
    lag: Lag,
    picture: Picture,
    /// A picture of the terminal that was asked for and has not come yet.
    redrawing: Option<LocalBoxFuture<'static, Drawn>>,
    /// Said before anything else.
    greet: Option<Greet>,
    cursor: u64,
    /// What the client may still be sent, or sent again after a restart of the server.
    needs: ReadFrom,
    codec: Codec,
    carry: TextCarry,
    /// Changes of size seen so far, and those whose place the cursor has not reached.
    resizes_seen: u64,
    resizes: VecDeque<crate::ring::Resize>,
    /// The terminal's size as the client knows it.
    size: (u16, u16),
    in_flight: InFlight,
    /// Too early for another picture.
    resting: Option<Pin<Box<Sleep>>>,
    state: State,
}

impl OutputBody {
    /// Prepares the output of a client that has just attached. `greet` makes the first
    /// control message from the offset of the first output byte that follows it, and the
    /// terminal's columns and rows there.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        connection: Addr<Connection>,
        handle: Arc<SessionHandle>,
        outbox: Rc<Outbox>,
        dialect: Dialect,
        lag: Lag,
        picture: Picture,
        start: Start,
        greet: impl FnOnce(u64, (u16, u16)) -> ServerMessage + 'static,
    ) -> io::Result<Self> {
        let wake = handle.wake()?;
        let from = match start {
            Start::At(offset) if lag != Lag::Skip => offset,
            // It begins with a picture, or with all that there is.
            Start::At(_) | Start::Fresh => handle.ring().head(),
        };
        let comes_back = dialect == Dialect::Stayd && lag != Lag::Skip;
        let needs = if comes_back { handle.follow_from(from) } else { handle.read_from(from) };
        let mut outlet = OutputBody {
            connection,
            handle,
            outbox,
            wake,
            dialect,
            lag,
            picture,
            redrawing: None,
            greet: Some(Box::new(greet)),
            cursor: 0,
            needs,
            codec: Codec::new(),
            carry: TextCarry::default(),
            resizes_seen: 0,
            size: (0, 0),
            in_flight: InFlight::default(),
            resting: None,
            resizes: VecDeque::new(),
            state: State::Open,
        };
        let ring = outlet.handle.ring();
        let (oldest, head) = (ring.oldest(), ring.head());
        if let Start::At(offset) = start
            && offset <= head
        {
            if lag == Lag::Follow {
                outlet.handle.resumed(offset);
            }
            if dialect == Dialect::Stayd {
                // To say what one has is to acknowledge it. Until its next acknowledgement,
                // what the socket takes may still be lost with this server.
                outlet.outbox.ack(offset);
                if lag == Lag::Follow {
                    outlet.handle.taken(offset);
                }
            }
        }
        match start {
            Start::At(offset) if (oldest..=head).contains(&offset) => {
                outlet.continue_at(offset);
            }
            Start::Fresh if head == 0 => outlet.continue_at(0),
            _ => outlet.ask_for_picture(),
        }
        Ok(outlet)
    }

    /// Goes on from an offset whose bytes the ring still has, if it also knows which size
    /// the terminal had there.
    fn continue_at(&mut self, offset: u64) {
        let known = self.handle.ring().resizes_since(0);
        let behind = known.partition_point(|resize| resize.offset <= offset);
        let Some(then) = behind.checked_sub(1).and_then(|last| known.get(last)) else {
            return self.ask_for_picture();
        };
        self.size = (then.cols, then.rows);
        // The last of them are known, whatever was forgotten; those told here were counted.
        self.resizes_seen = self.handle.ring().resize_count();
        self.resizes = known.into_iter().skip(behind).collect();
        self.start_at(offset, Vec::new());
    }

    /// Goes on from an offset; what is said first of all goes before whatever may have been
    /// said to the client already.
    fn start_at(&mut self, offset: u64, picture: Vec<Message>) {
        self.cursor = offset;
        let size = self.size;
        let greeting =
            self.greet.take().and_then(|greet| self.dialect.control(&greet(offset, size)));
        self.outbox.push_first(greeting.into_iter().chain(picture).collect());
    }

    fn ask_for_picture(&mut self) {
        self.redrawing = Some(Box::pin(draw(self.handle.clone(), self.picture)));
    }

    /// Starts the client again from a picture of the terminal.
    fn redraw(&mut self, drawn: Drawn) {
        let Drawn { offset, bytes, resizes, size, complete } = drawn;
        self.carry = TextCarry::default();
        if self.outbox.acked().is_some() {
            // The last acknowledgement lies behind the picture; the client's window goes on from the picture.
            self.outbox.ack(offset);
        }
        // A picture is drawn for a size, and holds all changes of it so far.
        self.resizes.clear();
        self.resizes_seen = resizes;
        let (cols, rows) = size;
        let changed = std::mem::replace(&mut self.size, size) != size && self.greet.is_none();
        let resized = changed
            .then(|| self.dialect.control(&ServerMessage::Resized { offset, cols, rows }))
            .flatten();
        let length = bytes.len();
        self.handle.metrics().sent.inc_by(length as u64);
        if self.greet.is_none() {
            self.handle.metrics().resyncs.inc();
        }
        let picture = match self.dialect {
            Dialect::Stayd => {
                let message = ServerMessage::Snapshot { offset, length, complete };
                let said = self.dialect.control(&message);
                said.into_iter().chain([Message::Binary(bytes)]).collect()
            }
            Dialect::Raw => vec![Message::Binary([RESET, &bytes].concat().into())],
            Dialect::Json => {
                let content = self.carry.feed(&[RESET, &bytes].concat());
                vec![json(&JsonServerMessage::Data { content })]
            }
        };
        let mut messages: Vec<Message> = resized.into_iter().chain(picture).collect();
        if self.lag == Lag::Skip {
            messages.push(self.in_flight.sent(length));
            self.resting = Some(Box::pin(sleep(REST)));
        }
        self.start_at(offset, messages);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            self.outbox.register(cx.waker());
            if let Some(redrawing) = &mut self.redrawing {
                match redrawing.as_mut().poll(cx) {
                    Poll::Ready(drawn) => {
                        self.redrawing = None;
                        self.redraw(drawn);
                    }
                    Poll::Pending if self.outbox.is_peer_closed() => return Poll::Ready(None),
                    Poll::Pending if self.greet.is_some() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.resting.as_mut().is_some_and(|rest| rest.as_mut().poll(cx).is_ready()) {
                self.resting = None;
            }
            let mut batch = BytesMut::new();
            self.take_control(&mut batch);
            self.report_progress();
            if self.redrawing.is_none() {
                self.take_output(&mut batch);
                if batch.is_empty() && self.redrawing.is_some() {
                    continue;
                }
            }
            if batch.is_empty() && self.take_closing(&mut batch) {
                self.state = State::Closing(Box::pin(sleep(LINGER)));
            }
            if !batch.is_empty() {
                return Poll::Ready(Some(batch.freeze()));
            }
            if self.outbox.is_peer_closed() {
                return Poll::Ready(None);
            }
            // Register, then look again: what is published in between must wake us.
            match self.wake.poll_read_ready(cx) {
                Poll::Ready(Ok(mut guard)) => guard.clear_ready(),
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    let head = self.handle.ring().head();
                    // Held back by its acknowledgements, the client's next one wakes us.
                    if self.cursor >= self.limit().min(head) && self.limit() >= head {
                        self.handle.ring().request_wake(head + 1);
                    }
                    if !self.has_work() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.outbox.is_empty()
            || self.redrawing.is_none()
                && (self.cursor < self.limit()
                    || self.wants_picture()
                    || self.handle.ring().resize_count() != self.resizes_seen)
            || self.closing_is_due()
    }

    /// The offset up to which this client may be sent output.
    fn limit(&self) -> u64 {
        let head = self.handle.ring().head();
        let limit = match self.outbox.acked() {
            Some(acked) => head.min(acked + ACK_WINDOW),
            None => head,
        };
        match self.lag {
            Lag::Follow | Lag::Trail => limit,
            // Bytes that a slow network has taken cannot be skipped any more. A client behind the ring, or
            // too far behind, gets a picture.
            Lag::Skip if self.is_behind() => self.cursor,
            Lag::Skip => limit.min(self.cursor + self.in_flight.room(self.outbox.heard())),
        }
    }

    fn take_control(&mut self, batch: &mut BytesMut) {
        while let Some(message) = self.outbox.pop() {
            // Only a fragmented message could be refused, and we send none.
            let _ = self.codec.encode(message, batch);
        }
    }

    /// A client that sends no acknowledgements has taken what its socket has taken: the
    /// body is asked for more only when little of the last batch is left.
    fn report_progress(&self) {
        self.needs.advance(match (self.lag, self.outbox.acked()) {
            // It is sent a picture instead of what is gone.
            (Lag::Skip, _) => u64::MAX,
            (_, Some(acked)) => acked.min(self.cursor),
            (_, None) => self.cursor,
        });
        if self.lag == Lag::Follow && self.outbox.acked().is_none() {
            self.handle.taken(self.cursor);
        }
    }

    fn take_output(&mut self, batch: &mut BytesMut) {
        if self.outbox.closing_after_output() == Some(false) {
            return;
        }
        // In this order: a change of size that comes later has its place at or behind this.
        let limit = self.limit();
        self.collect_resizes();
        let from = self.cursor;
        while batch.len() < BATCH {
            while let Some(resize) = self.resizes.front() {
                if resize.offset > self.cursor {
                    break;
                }
                let (offset, cols, rows) = (self.cursor, resize.cols, resize.rows);
                self.resizes.pop_front();
                self.size = (cols, rows);
                let message = ServerMessage::Resized { offset, cols, rows };
                if let Some(message) = self.dialect.control(&message) {
                    let _ = self.codec.encode(message, batch);
                }
            }
            if self.wants_picture() {
                self.ask_for_picture();
                return;
            }
            let resize = self.resizes.front().map_or(u64::MAX, |resize| resize.offset);
            let available = limit.min(resize).saturating_sub(self.cursor);
            let length = usize::try_from(available).unwrap_or(FRAME).min(FRAME);
            if length == 0 {
                break;
            }
            self.take_frame(length, batch);
        }
        let sent = self.cursor - from;
        if sent == 0 {
            return;
        }
        self.handle.metrics().sent.inc_by(sent);
        if let Some(after) = self.outbox.echoed() {
            self.handle.metrics().echo.observe(after);
        }
        if self.lag == Lag::Skip {
            let length = usize::try_from(sent).unwrap_or(usize::MAX);
            let _ = self.codec.encode(self.in_flight.sent(length), batch);
        }
    }

    fn collect_resizes(&mut self) {
        let count = self.handle.ring().resize_count();
        if count != self.resizes_seen {
            self.resizes.extend(self.handle.ring().resizes_since(self.resizes_seen));
            self.resizes_seen = count;
        }
    }

    /// Cannot, or is not to, be sent what it lacks.
    fn is_behind(&self) -> bool {
        let ring = self.handle.ring();
        self.cursor < ring.oldest()
            || (self.lag == Lag::Skip && ring.head().saturating_sub(self.cursor) > SKIP_LAG)
    }

    /// Whether a picture is due. One that waited in a slow network behind others would be
    /// old when it arrives.
    fn wants_picture(&self) -> bool {
        let may_skip = || self.resting.is_none() && self.in_flight.is_over(self.outbox.heard());
        self.is_behind() && (self.lag != Lag::Skip || may_skip())
    }

    /// Appends one frame of `length` bytes of output, all of them published.
    fn take_frame(&mut self, length: usize, batch: &mut BytesMut) {
        let ring = self.handle.ring();
        let before = batch.len();
        if self.dialect == Dialect::Json {
            let mut bytes = BytesMut::with_capacity(length);
            // Overtaken: the next turn of the caller's loop sees it and redraws.
            let Ok(read) = ring.read(self.cursor, length, &mut bytes) else { return };
            self.cursor += read as u64;
            let content = self.carry.feed(&bytes);
            if !content.is_empty() {
                let _ = self.codec.encode(json(&JsonServerMessage::Data { content }), batch);
            }
            return;
        }
        batch.reserve(length + 4);
        put_binary_header(batch, length);
        match ring.read(self.cursor, length, batch) {
            Ok(read) => self.cursor += read as u64,
            Err(_) => batch.truncate(before),
        }
    }

    fn closing_is_due(&self) -> bool {
        match self.outbox.closing_after_output() {
            Some(true) => self.cursor >= self.handle.ring().head(),
            Some(false) => true,
            None => false,
        }
    }

    fn take_closing(&mut self, batch: &mut BytesMut) -> bool {
        if !self.closing_is_due() {
            return false;
        }
        let Some(closing) = self.outbox.take_closing() else { return false };
        if let Some(farewell) = closing.farewell {
            let _ = self.codec.encode(farewell, batch);
        }
        let _ = self.codec.encode(Message::Close(Some(closing.close)), batch);
        true
    }
}

impl MessageBody for OutputBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        match &mut this.state {
            State::Open => Poll::Ready(ready!(this.poll_open(cx)).map(Ok)),
            State::Closing(linger) => {
                this.outbox.register(cx.waker());
                if !this.outbox.is_peer_closed() {
                    ready!(linger.as_mut().poll(cx));
                }
                this.state = State::Closed;
                Poll::Ready(None)
            }
            State::Closed => Poll::Ready(None),
        }
    }
}

impl Drop for OutputBody {
    fn drop(&mut self) {
        // Its last acknowledgement may have come after the last output was taken: it goes on from there.
        self.needs.advance(self.outbox.acked().unwrap_or(self.cursor));
        self.connection.do_send(BodyDropped);
    }
}
