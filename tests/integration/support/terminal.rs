//! A WebSocket client: what it is told, what it is shown.

use super::{Api, Server, soon};
use actix_codec::Framed;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector};
use actix_web::dev::{Service, fn_service};
use actix_web::rt::net::TcpStream;
use awc::BoxedSocket;
use awc::error::WsClientError;
use awc::http::Uri;
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

/// What came over the socket.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A text frame that is JSON.
    Control(Value),
    /// A binary frame.
    Bytes(Vec<u8>),
    /// A close frame: code and reason.
    Closed(u16, String),
    /// The connection is gone without one.
    Lost,
}

/// Without Nagle's delay, which would hold a keystroke back behind an acknowledgement.
async fn connect(to: ConnectInfo<Uri>) -> Result<Connection<Uri, TcpStream>, ConnectError> {
    let connection = Connector::default().service().call(to).await?;
    connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
    Ok(connection)
}

/// A WebSocket, as the client's end of it.
pub type Socket = Framed<BoxedSocket, Codec>;

/// Opens a WebSocket, whatever it will speak, to a server that may not be there.
pub async fn dial(api: &Api, path: &str, protocol: Option<&str>) -> Result<Socket, WsClientError> {
    let url = format!("{}{path}", api.base());
    let request = awc::Client::builder()
        .connector(awc::Connector::new().connector(fn_service(connect)))
        .max_http_version(awc::http::Version::HTTP_11)
        .finish()
        .ws(url)
        .max_frame_size(16 << 20)
        .header("Authorization", format!("Bearer {}", api.token()));
    let request = match protocol {
        Some(protocol) => request.protocols([protocol]),
        None => request,
    };
    let (_, socket) = soon("WebSocket", request.connect()).await?;
    Ok(socket)
}

/// One attached client.
pub struct Terminal {
    socket: Socket,
    /// Output so far, snapshots included.
    pub screen: Vec<u8>,
    /// Offset of the next byte of output (`stayd.v1`).
    pub offset: u64,
    snapshot: bool,
    acknowledge: bool,
}

impl Terminal {
    /// Attaches with `stayd.v1` and reads `attached`, which is returned too.
    pub async fn attach(server: &Server, id: &str, query: &str) -> (Self, Value) {
        let path = format!("/api/v1/sessions/{id}/attach?{query}");
        let mut terminal = Self::open(&server.api(), &path, Some("stayd.v1")).await;
        match terminal.next().await {
            Event::Control(attached) if attached["type"] == "attached" => (terminal, attached),
            other => panic!("not attached: {other:?}"),
        }
    }

    /// Opens a WebSocket, whatever it will speak.
    pub async fn open(api: &Api, path: &str, protocol: Option<&str>) -> Self {
        let dialled = dial(api, path, protocol).await;
        let socket = dialled.unwrap_or_else(|error| panic!("{path}: {error}"));
        Terminal { acknowledge: protocol == Some("stayd.v1"), ..Terminal::over(socket) }
    }

    /// On a WebSocket that speaks `stayd.v1`.
    pub fn over(socket: Socket) -> Self {
        Terminal { socket, screen: Vec::new(), offset: 0, snapshot: false, acknowledge: true }
    }

    /// Stops sending acknowledgements.
    pub fn without_acks(mut self) -> Self {
        self.acknowledge = false;
        self
    }

    pub async fn send(&mut self, message: Message) {
        soon("send", self.socket.send(message)).await.expect("sent");
    }

    /// Sends messages at once, so that the server has them together.
    pub async fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            soon("send", self.socket.feed(message)).await.expect("sent");
        }
        soon("send", self.socket.flush()).await.expect("sent");
    }

    pub async fn say(&mut self, control: Value) {
        self.send(Message::Text(control.to_string().into())).await;
    }

    pub async fn type_in(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(Message::Binary(bytes.as_ref().to_vec().into())).await;
    }

    /// The next event; pings are answered, output is kept and acknowledged.
    pub async fn next(&mut self) -> Event {
        // Pings do not count: a session that says nothing more must fail the test.
        soon("a frame", self.next_but_pings()).await
    }

    async fn next_but_pings(&mut self) -> Event {
        loop {
            let event = match self.socket.next().await {
                None | Some(Err(_)) => Event::Lost,
                Some(Ok(Frame::Ping(bytes))) => {
                    self.send(Message::Pong(bytes)).await;
                    continue;
                }
                Some(Ok(Frame::Pong(_))) => continue,
                Some(Ok(Frame::Text(text))) => match serde_json::from_slice(&text) {
                    Ok(control) => Event::Control(control),
                    Err(_) => Event::Bytes(text.to_vec()),
                },
                Some(Ok(Frame::Binary(bytes))) => Event::Bytes(bytes.to_vec()),
                Some(Ok(Frame::Close(reason))) => {
                    let reason = reason.expect("a reason");
                    Event::Closed(reason.code.into(), reason.description.unwrap_or_default())
                }
                Some(Ok(Frame::Continuation(_))) => panic!("the server never fragments"),
            };
            self.note(&event).await;
            return event;
        }
    }

    async fn note(&mut self, event: &Event) {
        match event {
            Event::Control(control) if control["type"] == "attached" => {
                self.offset = control["offset"].as_u64().expect("offset");
            }
            Event::Control(control) if control["type"] == "snapshot" => {
                self.offset = control["offset"].as_u64().expect("offset");
                self.snapshot = true;
            }
            Event::Control(control) if control["type"] == "data" => {
                self.screen.extend(control["content"].as_str().expect("content").as_bytes());
            }
            Event::Bytes(bytes) => {
                self.screen.extend(bytes);
                if !std::mem::take(&mut self.snapshot) {
                    self.offset += bytes.len() as u64;
                }
                if self.acknowledge {
                    // Whether it arrives does not matter to the test that ends meanwhile.
                    let ack = json!({ "type": "ack", "offset": self.offset });
                    let _ = self.socket.send(Message::Text(ack.to_string().into())).await;
                }
            }
            _ => {}
        }
    }

    /// Reads until the text is on the screen.
    pub async fn wait_for(&mut self, text: &str) {
        let mut from = 0;
        loop {
            let found = self.screen[from..].windows(text.len()).any(|part| part == text.as_bytes());
            if found {
                return;
            }
            from = self.screen.len().saturating_sub(text.len());
            if let end @ (Event::Closed(..) | Event::Lost) = self.next().await {
                panic!("{end:?} before {text:?}; screen: {}", self.text());
            }
        }
    }

    /// Reads until a control message of this type comes.
    pub async fn control(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Event::Control(control) if control["type"] == kind => return control,
                end @ (Event::Closed(..) | Event::Lost) => panic!("{end:?} before {kind}"),
                _ => {}
            }
        }
    }

    /// Reads all output before this offset, and keeps none of it.
    pub async fn read_to(&mut self, offset: u64) {
        while self.offset < offset {
            if let end @ (Event::Closed(..) | Event::Lost) = self.next().await {
                panic!("{end:?} at {} of {offset}", self.offset);
            }
            self.screen.clear();
        }
    }

    /// Reads until the terminal has this size.
    pub async fn resized_to(&mut self, cols: u16, rows: u16) {
        loop {
            let resized = self.control("resized").await;
            if resized["cols"] == cols && resized["rows"] == rows {
                return;
            }
        }
    }

    /// Reads until the server closes; code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Event::Closed(code, reason) => return (code, reason),
                Event::Lost => panic!("lost without a close frame"),
                _ => {}
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub async fn leave(mut self) {
        let reason = awc::ws::CloseReason::from(awc::ws::CloseCode::Normal);
        self.send(Message::Close(Some(reason))).await;
        while !matches!(self.next().await, Event::Closed(..) | Event::Lost) {}
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }
}
