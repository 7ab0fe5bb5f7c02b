//! The actor of one WebSocket: input, control and heartbeat. It never sees a PTY, and
//! output does not pass through it.

use super::actor::Session;
use super::dialect::Dialect;
use super::frames::{Frames, FramesError, Valve};
use super::in_flight::arrived;
use super::link::Link;
use super::outbox::{Ending, Outbox, close_reason};
use super::reports::first_report;
use super::requests::{ConnectionEvent, Detach, Resize, TakeControl};
use super::writers::InputWriter;
use crate::pending::Pending;
use crate::protocol::{
    self, ClientMessage, CloseCode, INPUT_WINDOW, JsonClientMessage, Mode, ServerMessage,
};
use actix::prelude::*;
use actix_http::ws::{Frame, Item, Message as WsMessage, ProtocolError};
use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a client is pinged.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client from which no frame has come for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest control message a client may send in fragments, in bytes.
const CONTROL_MAX: usize = 64 << 10;
/// How soon the holder's ledger is looked at after input was sent, and how the looks
/// become rarer while a program does not read its input.
const FIRST_LOOK: Duration = Duration::from_millis(3);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A place among a session's connections; given up when dropped.
pub struct Attachment {
    /// The session.
    pub session: Addr<Session>,
    /// Which of its connections.
    pub connection: u64,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.do_send(Detach { connection: self.connection });
    }
}

/// Whether a client's right to be there still holds; asked now and then.
pub type MayStay = Box<dyn Fn() -> bool>;

/// What a connection begins with.
pub struct ConnectionSetup {
    /// Its place in the session.
    pub attachment: Attachment,
    /// The session's ring, input and view.
    pub link: Arc<Link>,
    /// Shared with its outlet.
    pub outbox: Rc<Outbox>,
    /// What the client speaks.
    pub dialect: Dialect,
    /// What it may do.
    pub mode: Mode,
    /// Whether its acknowledgements let the program run on.
    pub follows: bool,
    /// Its right to write its client's input.
    pub writer: InputWriter,
    /// Input bytes of it that were accepted before.
    pub accepted: u64,
    /// Looked at with every ping.
    pub may_stay: MayStay,
}

/// The response body is gone, and with it the client.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BodyDropped;

/// One WebSocket.
pub struct Connection {
    attachment: Attachment,
    link: Arc<Link>,
    outbox: Rc<Outbox>,
    dialect: Dialect,
    mode: Mode,
    follows: bool,
    writer: InputWriter,
    pending: Pending,
    reported: u64,
    look: Option<SpawnHandle>,
    look_after: Duration,
    valve: Rc<Valve>,
    fragments: Fragments,
    last_heard: Instant,
    may_stay: MayStay,
    /// The session has closed this connection.
    closing: bool,
}

enum Fragments {
    None,
    Binary,
    Text(BytesMut),
}

impl Connection {
    /// Starts the connection in a context whose address the session knows already.
    pub fn start_in(mut ctx: Context<Self>, setup: ConnectionSetup, frames: Frames) {
        let valve = frames.valve();
        ctx.add_stream(frames);
        ctx.run(Connection {
            attachment: setup.attachment,
            link: setup.link,
            outbox: setup.outbox,
            dialect: setup.dialect,
            mode: setup.mode,
            follows: setup.follows,
            writer: setup.writer,
            pending: Pending::starting_at(setup.accepted),
            reported: setup.accepted,
            look: None,
            look_after: FIRST_LOOK,
            valve,
            fragments: Fragments::None,
            last_heard: Instant::now(),
            may_stay: setup.may_stay,
            closing: false,
        });
    }

    fn count(&self) -> Gauge {
        let protocol = [("protocol", self.dialect.name())];
        self.link.metrics().connections.get_or_create_owned(&protocol)
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
        let head = self.link.ring().head();
        if offset > head {
            let message = format!("acknowledged {offset}, but only {head} bytes were printed");
            return self.complain("invalid_message", message);
        }
        self.outbox.ack(offset);
        if self.follows {
            self.link.taken(offset);
        }
    }

    /// What is typed after it comes to the program after it.
    fn resize(&mut self, cols: u32, rows: u32, ctx: &mut Context<Self>) {
        if self.mode == Mode::Ro {
            return self.complain("read_only", "this client may only look");
        }
        match protocol::check_size(cols, rows) {
            Ok((cols, rows)) => {
                let connection = Some(self.attachment.connection);
                let resize = self.attachment.session.send(Resize { connection, cols, rows });
                // An ended session says so itself.
                ctx.wait(resize.into_actor(self).map(|_, _, _| ()));
            }
            Err(message) => self.complain("invalid_size", message),
        }
    }

    fn type_in(&mut self, bytes: &[u8], ctx: &mut Context<Self>) {
        if bytes.is_empty() || self.closing {
            return;
        }
        if self.mode == Mode::Ro {
            return self.complain("read_only", "this client may only look");
        }
        self.outbox.typed();
        self.settle();
        self.take(bytes);
        let full = self.pending.len() as u64 > INPUT_WINDOW;
        if full && self.dialect == Dialect::Stayd {
            return self.outbox.close(CloseCode::TooMuch, "more input than the window allows");
        }
        self.valve.set(full);
        if self.link.controller() != self.attachment.connection {
            let connection = self.attachment.connection;
            self.attachment.session.do_send(TakeControl { connection });
        }
        self.send_pending();
        self.look_after = FIRST_LOOK;
        self.look_soon(ctx);
    }

    /// Queues what was typed, and counts what the client's terminal says by itself.
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(report) = first_report(bytes) {
            let (before, rest) = bytes.split_at(report.bytes.start);
            let (said, rest) = rest.split_at(report.bytes.len());
            self.pending.push(before);
            if report.may_be_key && !self.link.screen().told_cursor_lately() {
                self.pending.push(said);
            } else {
                self.pending.push_counted(said);
            }
            bytes = rest;
        }
        self.pending.push(bytes);
    }

    fn send_pending(&mut self) {
        while let Some(piece) = self.pending.next_piece() {
            // Where another connection has taken over, this one is about to be told.
            self.link.type_in(&self.writer, &piece);
        }
    }

    /// Learns from shared memory what the holder has accepted: no message a keystroke.
    fn settle(&mut self) {
        if let Some(input) = self.link.ring().input(self.writer.key()) {
            self.pending.settle(input, self.link.ring().input_free() > 0);
        }
    }

    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if self.look.is_none() {
            self.look = Some(ctx.run_later(self.look_after, Self::look));
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.look = None;
        let before = self.pending.accepted();
        self.settle();
        self.send_pending();
        if self.pending.accepted() > self.reported {
            self.reported = self.pending.accepted();
            self.say(&ServerMessage::Input { received: self.reported });
        }
        if (self.pending.len() as u64) < INPUT_WINDOW / 2 {
            self.valve.set(false);
        }
        if !self.pending.is_empty() {
            let moved = self.pending.accepted() > before;
            self.look_after = if moved { FIRST_LOOK } else { (self.look_after * 2).min(LAST_LOOK) };
            self.look_soon(ctx);
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
                self.outbox.close(CloseCode::TooMuch, "control message too long");
            }
            Fragments::Text(text) => text.extend_from_slice(bytes),
            Fragments::Binary => self.binary(bytes, ctx),
            Fragments::None => {}
        }
    }

    fn heartbeat(&mut self, ctx: &mut Context<Self>) {
        if self.last_heard.elapsed() >= SILENCE_MAX {
            self.outbox.peer_closed();
            ctx.stop();
        } else if !(self.may_stay)() {
            self.closing = true;
            self.outbox.close(CloseCode::NotAllowed, "the token is no longer valid");
        } else {
            self.outbox.push(WsMessage::Ping(Bytes::new()));
        }
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
        // Without an actor nobody would ever end the body.
        self.outbox.close(CloseCode::GoingAway, "connection closed");
        self.outbox.peer_closed();
    }
}

impl StreamHandler<Result<Frame, FramesError>> for Connection {
    fn handle(&mut self, frame: Result<Frame, FramesError>, ctx: &mut Self::Context) {
        self.last_heard = Instant::now();
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
                let close = reason.unwrap_or_else(|| close_reason(CloseCode::Ended, "bye"));
                self.outbox.end(Ending { farewell: None, close, after_output: false });
                self.outbox.peer_closed();
                ctx.stop();
            }
            Err(FramesError::Protocol(ProtocolError::Overflow)) => {
                self.outbox.close(CloseCode::TooMuch, "frame too large");
            }
            Err(FramesError::Protocol(error)) => {
                self.outbox.close(CloseCode::ProtocolError, &error.to_string());
            }
            Err(FramesError::Lost) => ctx.stop(),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        // After a refusal the close frame is still on its way out.
        if self.outbox.ending_after_output().is_none() {
            ctx.stop();
        }
    }
}

impl Handler<ConnectionEvent> for Connection {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Self::Context) {
        match event {
            ConnectionEvent::State(state) => {
                if self.dialect == Dialect::Stayd {
                    self.outbox.set_state(state);
                }
            }
            ConnectionEvent::End(message) => self.outbox.end(Ending {
                farewell: self.dialect.control(&message),
                close: close_reason(CloseCode::Ended, "the session ended"),
                after_output: true,
            }),
            ConnectionEvent::Again => self.outbox.end(Ending {
                farewell: None,
                close: close_reason(CloseCode::GoingAway, "the session is being started again"),
                after_output: true,
            }),
            ConnectionEvent::Close(code, why) => {
                // Whoever took over resends what was not accepted; nothing more goes from here.
                self.pending = Pending::starting_at(self.pending.accepted());
                self.closing = true;
                self.outbox.close(code, why);
            }
        }
    }
}

impl Handler<BodyDropped> for Connection {
    type Result = ();

    fn handle(&mut self, _: BodyDropped, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
