//! The actor of one WebSocket: input, control and heartbeat. It never sees a PTY, and
//! output does not pass through it.

use super::super::attachment::{Attachment, ConnectionEvent, Looking, TakeControl};
use super::super::handle::SessionHandle;
use super::super::requests::Resize;
use super::super::writers::InputWriter;
use super::dialect::Dialect;
use super::frames::{Frames, FramesError, ReadPause};
use super::nesting::Nested;
use super::outbox::{Closing, Outbox, arrived, close_reason};
use super::reports::{HOLD, Part, Reports};
use crate::audit::Auditor;
use crate::pending::Pending;
use crate::protocol::{
    self, ClientMessage, CloseCode, INPUT_WINDOW, JsonClientMessage, Mode, ServerMessage,
};
use crate::rights::Action;
use actix::prelude::*;
use actix_http::ws::{CloseReason, Frame, Item, Message as WsMessage, ProtocolError};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use prometheus_client::metrics::gauge::Gauge;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval between two pings of a client.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client from which no frame has come for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest control message a client may send in fragments, in bytes.
const CONTROL_MAX: usize = 64 << 10;
/// Input that is kept for a program that does not read, in bytes, of a client that is told
/// nothing of what was accepted. Its socket is read so far, so that pings behind a paste are
/// answered; then it is read no more until the program reads.
const READ_AHEAD: usize = 1 << 20;
/// A client that has said goodbye waits this long for the program to take the rest of its input.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// A client that is being closed has this long to read the close frame.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// The holder's ledger is read this soon after input was sent, and at doubled intervals while the
/// program does not read its input.
const FIRST_CHECK: Duration = Duration::from_millis(3);
const LAST_CHECK: Duration = Duration::from_millis(100);

/// Resolves, with the reason, when a client's right to be there ends.
pub type Revoked = LocalBoxFuture<'static, &'static str>;

/// The parts of a connection that is to start.
pub struct ConnectionSetup {
    /// Its place in the session.
    pub attachment: Attachment,
    /// The session's ring, input and view.
    pub handle: Arc<SessionHandle>,
    /// Shared with its outlet.
    pub outbox: Rc<Outbox>,
    /// The client's dialect.
    pub dialect: Dialect,
    /// Whether the client may type.
    pub mode: Mode,
    /// Whether its acknowledgements let the program run on.
    pub follows: bool,
    /// Whether a terminal stands behind it, which answers what programs ask: answers are not
    /// typed, as the session's own screen gives them.
    pub has_terminal: bool,
    /// Its right to write its client's input.
    pub writer: InputWriter,
    /// Input bytes of it that were accepted before.
    pub accepted: u64,
    /// Closes it.
    pub revoked: Revoked,
    /// Where is written what the client does.
    pub auditor: Auditor,
    /// That the session is shown inside another.
    pub nested: Option<Nested>,
}

/// The response body is gone, and with it the client.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BodyDropped;

/// One WebSocket.
pub struct Connection {
    attachment: Attachment,
    handle: Arc<SessionHandle>,
    outbox: Rc<Outbox>,
    dialect: Dialect,
    mode: Mode,
    follows: bool,
    writer: InputWriter,
    pending: Pending,
    reported: u64,
    ledger_check: Option<SpawnHandle>,
    next_check: Duration,
    read_pause: Rc<ReadPause>,
    fragments: Fragments,
    /// Tells answers from what is typed; `None`: all is typed.
    reports: Option<Reports>,
    /// Gives up waiting for the rest of a terminal's answer.
    expiry: Option<SpawnHandle>,
    last_heard: Instant,
    auditor: Auditor,
    /// Whether the client has typed.
    has_typed: bool,
    /// The client has said goodbye, and this is the answer once its input is typed.
    leaving: Option<CloseReason>,
    /// Held for as long as the client is here.
    _nested: Option<Nested>,
}

enum Fragments {
    None,
    Binary,
    Text(BytesMut),
}

impl Connection {
    /// Starts the connection in a context whose address the session knows already.
    pub fn start_in(mut ctx: Context<Self>, setup: ConnectionSetup, frames: Frames) {
        let read_pause = frames.read_pause();
        ctx.add_stream(frames);
        ctx.spawn(actix::fut::wrap_future(setup.revoked).map(Self::revoked));
        ctx.run(Connection {
            attachment: setup.attachment,
            handle: setup.handle,
            outbox: setup.outbox,
            dialect: setup.dialect,
            mode: setup.mode,
            follows: setup.follows,
            writer: setup.writer,
            pending: Pending::starting_at(setup.accepted),
            reported: setup.accepted,
            ledger_check: None,
            next_check: FIRST_CHECK,
            read_pause,
            fragments: Fragments::None,
            reports: setup.has_terminal.then(Reports::default),
            expiry: None,
            last_heard: Instant::now(),
            auditor: setup.auditor,
            has_typed: false,
            leaving: None,
            _nested: setup.nested,
        });
    }

    fn count(&self) -> Gauge {
        let protocol = [("protocol", self.dialect.name())];
        self.handle.metrics().connections.get_or_create_owned(&protocol)
    }

    fn say(&self, message: &ServerMessage) {
        if let Some(message) = self.dialect.control(message) {
            self.outbox.push(message);
        }
    }

    fn complain(&self, code: &str, message: impl Into<String>) {
        self.say(&ServerMessage::Error { code: code.to_owned(), message: message.into() });
    }

    fn binary(&mut self, bytes: &[u8], ctx: &mut Context<Self>) {
        match self.dialect {
            Dialect::Stayd | Dialect::Raw => self.type_in(bytes, ctx),
            Dialect::Json => self.complain("invalid_message", "json.v1 has text messages only"),
        }
    }

    fn text(&mut self, text: &[u8], ctx: &mut Context<Self>) {
        match self.dialect {
            Dialect::Raw => self.type_in(text, ctx),
            Dialect::Stayd => match serde_json::from_slice(text) {
                Ok(ClientMessage::Ack { offset }) => self.ack(offset),
                Ok(ClientMessage::Resize { cols, rows }) => self.resize(cols, rows, ctx),
                Ok(ClientMessage::Looking { looking }) => {
                    let connection = self.attachment.connection;
                    let told = self.attachment.look.send(Looking { connection, looking });
                    ctx.wait(told.into_actor(self).map(|_, _, _| ()));
                }
                Ok(ClientMessage::Ping { id }) => self.say(&ServerMessage::Pong { id }),
                Err(error) => self.complain("invalid_message", error.to_string()),
            },
            Dialect::Json => match serde_json::from_slice(text) {
                Ok(JsonClientMessage::Input(data)) => self.type_in(data.as_bytes(), ctx),
                Ok(JsonClientMessage::Resize { cols, rows }) => self.resize(cols, rows, ctx),
                Err(error) => self.complain("invalid_message", error.to_string()),
            },
        }
    }

    fn ack(&mut self, offset: u64) {
        let head = self.handle.ring().head();
        if offset > head {
            let message = format!("acknowledged {offset}, but only {head} bytes were printed");
            return self.complain("invalid_message", message);
        }
        self.outbox.ack(offset);
        if self.follows {
            self.handle.taken(offset);
        }
    }

    /// Asks for another size. Input that follows waits for it, so that the program gets both in order.
    fn resize(&mut self, cols: u32, rows: u32, ctx: &mut Context<Self>) {
        if self.mode == Mode::Ro {
            return self.complain("read_only", "this client may only look");
        }
        match protocol::check_size(cols, rows) {
            Ok((cols, rows)) => {
                self.auditor.done_seldom(Action::Resize, Some(format!("{cols}x{rows}")));
                let connection = Some(self.attachment.connection);
                let resize = self.attachment.resize.send(Resize { connection, cols, rows });
                // An ended session says so itself.
                ctx.wait(resize.into_actor(self).map(|_, _, _| ()));
            }
            Err(message) => self.complain("invalid_size", message),
        }
    }

    fn type_in(&mut self, bytes: &[u8], ctx: &mut Context<Self>) {
        if bytes.is_empty() || self.outbox.is_closing() {
            return;
        }
        if self.mode == Mode::Ro {
            return self.complain("read_only", "this client may only look");
        }
        if !std::mem::replace(&mut self.has_typed, true) {
            self.auditor.done(Action::Input.as_str(), Some("first input".to_owned()));
        }
        self.outbox.typed();
        self.settle();
        self.take(bytes, ctx);
        if self.dialect == Dialect::Stayd {
            if self.pending.len() as u64 > INPUT_WINDOW {
                return self.close(CloseCode::TooMuch, "more input than the window allows", ctx);
            }
        } else if self.pending.len() > READ_AHEAD && !self.read_pause.is_shut() {
            self.read_pause.set(true);
            let message = "the program does not read its input: what you send waits, unread";
            self.complain("input_full", message);
        }
        if self.handle.controller() != self.attachment.connection {
            let connection = self.attachment.connection;
            self.attachment.take_control.do_send(TakeControl { connection });
        }
        self.type_pending(ctx);
    }

    /// Queues what was typed, and counts what the client's terminal says by itself.
    fn take(&mut self, bytes: &[u8], ctx: &mut Context<Self>) {
        let (pending, handle) = (&mut self.pending, &self.handle);
        let Some(reports) = &mut self.reports else { return pending.push(bytes) };
        reports.feed(bytes, Instant::now(), |part| queue(pending, handle, part));
        if let Some(expiry) = self.expiry.take() {
            ctx.cancel_future(expiry);
        }
        if reports.holds() {
            self.expiry = Some(ctx.run_later(HOLD, |connection, ctx| {
                connection.expiry = None;
                connection.expire();
                connection.type_pending(ctx);
            }));
        }
    }

    /// Queues what waited for more that did not come.
    fn expire(&mut self) {
        let (pending, handle) = (&mut self.pending, &self.handle);
        if let Some(reports) = &mut self.reports {
            reports.expire(|part| queue(pending, handle, part));
        }
    }

    fn type_pending(&mut self, ctx: &mut Context<Self>) {
        self.send_pending();
        self.next_check = FIRST_CHECK;
        self.check_ledger_soon(ctx);
    }

    fn send_pending(&mut self) {
        while let Some(piece) = self.pending.next_piece() {
            // Where another connection has taken over, this one is about to be told.
            self.handle.type_in(&self.writer, &piece);
        }
    }

    /// Learns from shared memory what the holder has accepted: no message a keystroke.
    fn settle(&mut self) {
        if let Some(input) = self.handle.ring().input(self.writer.key()) {
            self.pending.settle(input, self.handle.ring().input_free() > 0);
        }
    }

    fn check_ledger_soon(&mut self, ctx: &mut Context<Self>) {
        if self.ledger_check.is_none() {
            self.ledger_check = Some(ctx.run_later(self.next_check, Self::check_ledger));
        }
    }

    fn check_ledger(&mut self, ctx: &mut Context<Self>) {
        self.ledger_check = None;
        let before = self.pending.accepted();
        self.settle();
        self.send_pending();
        if self.pending.accepted() > self.reported {
            self.reported = self.pending.accepted();
            self.say(&ServerMessage::Input { received: self.reported });
        }
        if self.pending.len() < READ_AHEAD / 2 {
            self.read_pause.set(false);
        }
        if self.pending.is_empty() {
            if let Some(answer) = self.leaving.take() {
                self.leave(answer, ctx);
            }
        } else {
            let moved = self.pending.accepted() > before;
            self.next_check =
                if moved { FIRST_CHECK } else { (self.next_check * 2).min(LAST_CHECK) };
            self.check_ledger_soon(ctx);
        }
    }

    fn fragment(&mut self, item: Item, ctx: &mut Context<Self>) {
        match item {
            Item::FirstBinary(bytes) => {
                self.fragments = Fragments::Binary;
                self.binary(&bytes, ctx);
            }
            Item::FirstText(bytes) if self.dialect == Dialect::Raw => {
                self.fragments = Fragments::Binary;
                self.binary(&bytes, ctx);
            }
            Item::FirstText(bytes) => self.fragments = Fragments::Text(BytesMut::from(&bytes[..])),
            Item::Continue(bytes) => self.more(&bytes, ctx),
            Item::Last(bytes) => {
                self.more(&bytes, ctx);
                if let Fragments::Text(text) =
                    std::mem::replace(&mut self.fragments, Fragments::None)
                {
                    self.text(&text, ctx);
                }
            }
        }
    }

    fn more(&mut self, bytes: &Bytes, ctx: &mut Context<Self>) {
        match &mut self.fragments {
            Fragments::Text(text) if text.len() + bytes.len() > CONTROL_MAX => {
                self.close(CloseCode::TooMuch, "control message too long", ctx);
            }
            Fragments::Text(text) => text.extend_from_slice(bytes),
            Fragments::Binary => self.binary(bytes, ctx),
            Fragments::None => {}
        }
    }

    fn heartbeat(&mut self, ctx: &mut Context<Self>) {
        if self.read_pause.is_shut() {
            // It may have answered; it is the server that does not read.
            self.last_heard = Instant::now();
        }
        // One that is to be closed and does not even take that is as good as gone.
        let deaf = self.outbox.closing_after_output() == Some(false);
        if deaf || self.last_heard.elapsed() >= SILENCE_MAX {
            self.outbox.peer_closed();
            ctx.stop();
        } else {
            self.outbox.push(WsMessage::Ping(Bytes::new()));
        }
    }

    /// Closes the connection at once. What of its input was not accepted is dropped, as the
    /// code says.
    fn close(&mut self, code: CloseCode, why: &str, ctx: &mut Context<Self>) {
        self.pending = Pending::starting_at(self.pending.accepted());
        self.reports = self.reports.take().map(|_| Reports::default());
        self.outbox.close(code, why);
        // Input on its way is read and thrown away: unread, it would make the kernel drop the close frame.
        self.read_pause.set(false);
        // A client that does not read does not keep its place.
        ctx.run_later(CLOSE_MAX, |_, ctx| ctx.stop());
    }

    fn revoked(why: &'static str, connection: &mut Self, ctx: &mut Context<Self>) {
        connection.close(CloseCode::NotAllowed, why, ctx);
    }

    /// The client has said goodbye. What it has typed before is typed, as far as the program
    /// takes it soon; a `stayd.v1` client knows what was accepted.
    fn goodbye(&mut self, answer: CloseReason, ctx: &mut Context<Self>) {
        self.expire();
        self.settle();
        self.type_pending(ctx);
        let owes = !self.pending.is_empty() && self.dialect != Dialect::Stayd;
        if !owes || self.outbox.is_closing() {
            return self.leave(answer, ctx);
        }
        self.leaving = Some(answer);
        ctx.run_later(LEAVE_MAX, |connection, ctx| {
            let lost = connection.pending.len();
            let why = format!("the program has not read {lost} bytes of your input: they are lost");
            connection.leave(close_reason(CloseCode::TooMuch, &why), ctx);
        });
    }

    fn leave(&mut self, close: CloseReason, ctx: &mut Context<Self>) {
        self.outbox.close_with(Closing { farewell: None, close, after_output: false });
        self.outbox.peer_closed();
        ctx.stop();
    }
}

/// Queues a part of a client's input.
fn queue(pending: &mut Pending, handle: &SessionHandle, part: Part<'_>) {
    match part {
        Part::Typed(bytes) => pending.push(bytes),
        Part::ReportOrKey(bytes) if !handle.screen().reported_cursor_lately() => {
            pending.push(bytes)
        }
        Part::Report(bytes) | Part::ReportOrKey(bytes) => pending.push_counted(bytes),
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PING_EVERY, Self::heartbeat);
        self.count().inc();
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.count().dec();
        self.auditor.done("session.detach", None);
        // Without an actor nobody would ever end the body.
        self.outbox.close(CloseCode::GoingAway, "connection closed");
        self.outbox.peer_closed();
    }
}

impl StreamHandler<Result<Frame, FramesError>> for Connection {
    fn handle(&mut self, frame: Result<Frame, FramesError>, ctx: &mut Self::Context) {
        self.last_heard = Instant::now();
        if self.leaving.is_some() {
            return;
        }
        match frame {
            Ok(Frame::Binary(bytes)) => self.binary(&bytes, ctx),
            Ok(Frame::Text(text)) => self.text(&text, ctx),
            Ok(Frame::Continuation(item)) => self.fragment(item, ctx),
            Ok(Frame::Ping(bytes)) => self.outbox.push(WsMessage::Pong(bytes)),
            Ok(Frame::Pong(bytes)) => {
                if let Some(arrived) = arrived(&bytes) {
                    self.outbox.hear(arrived);
                }
            }
            Ok(Frame::Close(reason)) => {
                let answer = reason.unwrap_or_else(|| close_reason(CloseCode::Ended, "bye"));
                self.goodbye(answer, ctx);
            }
            Err(FramesError::Protocol(ProtocolError::Overflow)) => {
                self.close(CloseCode::TooMuch, "frame too large", ctx);
            }
            Err(FramesError::Protocol(error)) => {
                self.close(CloseCode::ProtocolError, &error.to_string(), ctx);
            }
            Err(FramesError::Lost) => ctx.stop(),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        // The close frame may still be on its way out, or input on its way in.
        if !self.outbox.is_closing() && self.leaving.is_none() {
            ctx.stop();
        }
    }
}

impl Handler<ConnectionEvent> for Connection {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, ctx: &mut Self::Context) {
        if !matches!(event, ConnectionEvent::State(_)) {
            // Input counts no more; goodbyes and acknowledgements behind it do.
            self.read_pause.set(false);
        }
        match event {
            ConnectionEvent::State(state) => {
                if self.dialect == Dialect::Stayd {
                    self.outbox.set_state(state);
                }
            }
            ConnectionEvent::End(message) => self.outbox.close_with(Closing {
                farewell: self.dialect.control(&message),
                close: close_reason(CloseCode::Ended, "the session ended"),
                after_output: true,
            }),
            ConnectionEvent::Again => self.outbox.close_with(Closing {
                farewell: None,
                close: close_reason(CloseCode::GoingAway, "the session is being started again"),
                after_output: true,
            }),
            // The connection that took over resends what was not accepted; this one sends nothing more.
            ConnectionEvent::Close(code, why) => self.close(code, why, ctx),
        }
    }
}

impl Handler<BodyDropped> for Connection {
    type Result = ();

    fn handle(&mut self, _: BodyDropped, ctx: &mut Self::Context) {
        if self.leaving.is_none() {
            ctx.stop();
        }
    }
}
