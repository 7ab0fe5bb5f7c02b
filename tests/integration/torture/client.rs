//! A `stayd.v1` client as the protocol wants one: it acknowledges, comes back by itself
//! whatever happens, goes on from its offset and types again what was not accepted. It
//! fails the test where the server breaks the protocol.

use super::world::World;
use crate::support::{Api, Socket, dial, soon};
use actix_web::rt::time::sleep;
use awc::error::WsClientError;
use awc::ws::{Frame, Message};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(10);
/// Acknowledged at least this often, in bytes.
const ACK_EVERY: u64 = 32 << 10;
/// The longest piece typed in one message, in bytes.
const PIECE: usize = 8 << 10;

/// What a client is shown and told.
#[derive(Debug)]
pub(super) enum Got {
    /// Output that begins where the last ended.
    Output(Bytes),
    /// It could not go on from its offset: it was started again with a picture.
    Skipped { from: u64, to: u64 },
    /// The session ended.
    Exit(Value),
    /// Anything else.
    News,
}

pub(super) struct Client {
    world: Rc<World>,
    api: Api,
    name: String,
    session: String,
    socket: Option<Socket>,
    /// Output bytes that it has.
    pub(super) offset: u64,
    acked: u64,
    /// Typed and not accepted; begins at `accepted`.
    typed: VecDeque<u8>,
    accepted: u64,
    sent: u64,
    window: u64,
    /// The picture whose bytes come next: its length, and where it leads from and to.
    picture: Option<(usize, u64, u64)>,
    connections: u64,
}

/// Why there is no connection (yet).
enum Failed {
    /// The server is not there, or not there any more.
    Absent,
    Wrong(String),
}

impl Client {
    /// A client of this session that has nothing of its output yet.
    pub(super) fn new(world: &Rc<World>, api: &Api, name: &str, session: &str) -> Self {
        Client {
            world: world.clone(),
            api: api.clone(),
            name: name.to_owned(),
            session: session.to_owned(),
            socket: None,
            offset: 0,
            acked: 0,
            typed: VecDeque::new(),
            accepted: 0,
            sent: 0,
            window: 0,
            picture: None,
            connections: 0,
        }
    }

    /// Times it had to come back.
    pub(super) fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    /// Types, now or as soon as the server takes it.
    pub(super) async fn type_in(&mut self, bytes: &[u8]) {
        self.typed.extend(bytes);
        self.send_typed().await;
    }

    pub(super) async fn resize(&mut self, cols: u16, rows: u16) {
        self.say(&json!({ "type": "resize", "cols": cols, "rows": rows })).await;
    }

    /// The next thing that happens; connects as often as it takes. To be awaited to its
    /// end: what is dropped in between may have been counted already.
    pub(super) async fn next(&mut self) -> Got {
        loop {
            if self.socket.is_none() {
                let name = self.name.clone();
                soon(&name, self.connect()).await;
                self.send_typed().await;
            }
            let Some(socket) = &mut self.socket else { continue };
            let what = format!("a frame for {} at {}", self.name, self.offset);
            let frame = soon(&what, socket.next()).await;
            match frame {
                Some(Ok(frame)) => match self.take(frame).await {
                    Some(got) => return got,
                    None => continue,
                },
                None | Some(Err(_)) => self.socket = None,
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Option<Got> {
        match frame {
            Frame::Ping(bytes) => {
                self.send(Message::Pong(bytes)).await;
                None
            }
            Frame::Pong(_) => None,
            Frame::Binary(bytes) => Some(self.output(bytes).await),
            Frame::Text(text) => {
                let said = serde_json::from_slice(&text).expect("control messages are JSON");
                self.hear(said).await
            }
            Frame::Close(reason) => {
                let reason = reason.expect("a reason");
                let code = u16::from(reason.code);
                assert_eq!(code, 1001, "{} was closed: {:?}", self.name, reason.description);
                self.socket = None;
                None
            }
            Frame::Continuation(_) => panic!("the server never fragments"),
        }
    }

    async fn output(&mut self, bytes: Bytes) -> Got {
        if let Some((length, from, to)) = self.picture.take() {
            assert_eq!(bytes.len(), length, "{}: a picture of another length", self.name);
            // Not acknowledged before it has seen some of what follows: it is at the head of
            // the output now, before the client that was furthest ahead.
            self.offset = to;
            return Got::Skipped { from, to };
        }
        self.offset += bytes.len() as u64;
        self.world.saw_output();
        self.acknowledge().await;
        Got::Output(bytes)
    }

    async fn hear(&mut self, said: Value) -> Option<Got> {
        let number = |field: &str| said[field].as_u64().expect("a number");
        match said["type"].as_str() {
            Some("snapshot") => {
                let length = number("length") as usize;
                self.picture = Some((length, self.offset, number("offset")));
                if length == 0 {
                    return Some(self.output(Bytes::new()).await);
                }
                None
            }
            Some("input") => {
                self.accept(number("received"));
                self.send_typed().await;
                Some(Got::News)
            }
            Some("resized") => {
                assert_eq!(number("offset"), self.offset, "a resize stands at its place");
                Some(Got::News)
            }
            Some("state") => Some(Got::News),
            Some("exit") => Some(Got::Exit(said)),
            _ => panic!("{} was told: {said}", self.name),
        }
    }

    fn accept(&mut self, received: u64) {
        let most = self.accepted + self.typed.len() as u64;
        assert!(
            (self.accepted..=most).contains(&received),
            "{}: {received} bytes accepted, of {most}, after {} were",
            self.name,
            self.accepted
        );
        self.typed.drain(..(received - self.accepted) as usize);
        self.accepted = received;
        self.sent = self.sent.max(received);
    }

    async fn acknowledge(&mut self) {
        if self.offset - self.acked >= ACK_EVERY {
            self.acked = self.offset;
            self.say(&json!({ "type": "ack", "offset": self.offset })).await;
        }
    }

    async fn send_typed(&mut self) {
        while self.socket.is_some() {
            let from = (self.sent - self.accepted) as usize;
            let room = (self.window as usize).saturating_sub(from);
            let length = (self.typed.len() - from).min(room).min(PIECE);
            if length == 0 {
                return;
            }
            let piece: Vec<u8> = self.typed.range(from..from + length).copied().collect();
            self.sent += length as u64;
            self.send(Message::Binary(piece.into())).await;
        }
    }

    async fn say(&mut self, control: &Value) {
        self.send(Message::Text(control.to_string().into())).await;
    }

    /// Sends, if there is a connection. One that breaks is noticed where it is read.
    async fn send(&mut self, message: Message) {
        if let Some(socket) = &mut self.socket {
            let _ = socket.send(message).await;
        }
    }

    async fn connect(&mut self) {
        loop {
            match self.attach().await {
                Ok(()) => return,
                Err(Failed::Absent) => sleep(AGAIN).await,
                Err(Failed::Wrong(why)) => panic!("{} cannot attach: {why}", self.name),
            }
        }
    }

    async fn attach(&mut self) -> Result<(), Failed> {
        let Client { world, name, session, offset, .. } = self;
        let path = format!(
            "/api/v1/sessions/{session}/attach?client={name}&session={session}&offset={offset}"
        );
        let mut socket =
            dial(&self.api, &path, Some("stayd.v1")).await.map_err(|error| match error {
                WsClientError::InvalidResponseStatus(status)
                    if !world.is_fleet.get() || status.as_u16() != 503 =>
                {
                    Failed::Wrong(status.to_string())
                }
                _ => Failed::Absent,
            })?;
        let attached: Value = match socket.next().await {
            None | Some(Err(_)) => return Err(Failed::Absent),
            Some(Ok(Frame::Text(text))) => serde_json::from_slice(&text).expect("JSON"),
            Some(Ok(Frame::Close(Some(reason)))) if u16::from(reason.code) == 1001 => {
                return Err(Failed::Absent);
            }
            Some(Ok(other)) => return Err(Failed::Wrong(format!("{other:?}"))),
        };
        let number = |field: &str| attached[field].as_u64().expect("a number");
        assert_eq!(attached["type"], "attached", "{attached}");
        self.world.unchanged_pid(&self.session, &attached["session"]["pid"]);
        if number("offset") != self.offset {
            // The picture comes next.
            let next = socket.next().await;
            let Some(Ok(Frame::Text(text))) = next else { return Err(Failed::Absent) };
            let picture: Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(picture["type"], "snapshot", "{picture}");
            let length = picture["length"].as_u64().expect("a length") as usize;
            self.picture = Some((length, self.offset, number("offset")));
        } else {
            self.picture = None;
        }
        self.acked = self.offset;
        self.window = number("input_window");
        self.accept(number("input"));
        // What else was sent did not arrive.
        self.sent = self.accepted;
        self.socket = Some(socket);
        self.connections += 1;
        self.world.is_back(&self.name);
        Ok(())
    }
}
