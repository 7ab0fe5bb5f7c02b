//! One WebSocket connection.

use super::super::client::{Client, unreachable};
use super::super::endpoint::Endpoint;
use super::super::failure::Failure;
use super::super::transport;
use actix_codec::Framed;
use actix_http::ws::{CloseReason, Codec, Frame, Item, Message};
use actix_web::rt::{self, task::JoinHandle};
use awc::BoxedSocket;
use awc::error::{SendRequestError, WsClientError};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout, timeout_at};

/// The timeout of name lookup, connection and handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence of the server, which pings every 15 s: after three missed pings the
/// connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest frame, which has room for a snapshot of 512 KiB.
const FRAME_MAX: usize = 2 << 20;
/// The timeout for writing the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A message from the server, or the end of the connection.
#[derive(Debug)]
pub(in crate::cli) enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The connection is gone; the code and reason are those of a close frame, if one was received.
    Closed(Option<u16>, String),
}

type Frames = Framed<BoxedSocket, Codec>;

/// An open connection. A task of its own writes the frames, so that reading never waits for
/// writing.
pub(in crate::cli) struct Link {
    frames: SplitStream<Frames>,
    outgoing: UnboundedSender<Message>,
    writer: JoinHandle<()>,
    /// When the last frame arrived.
    heard: Instant,
    /// The beginning of a fragmented message, and whether the message is text.
    partial: Option<(bool, BytesMut)>,
}

impl Link {
    /// Connects to a path and query of a server. A failure says whether a retry may succeed
    /// ([`Failure::is_passing`]).
    pub(in crate::cli) async fn open(endpoint: &Endpoint, target: &str) -> Result<Link, Failure> {
        let client = transport::client(endpoint, Some(CONNECT_TIMEOUT))?;
        let mut request = client
            .ws(format!("{}{target}", endpoint.url))
            .protocols(["stayd.v1"])
            .max_frame_size(FRAME_MAX);
        if let Some(token) = &endpoint.token {
            request = request.set_header("Authorization", format!("Bearer {token}"));
        }
        let frames = match request.connect().await {
            Ok((_, frames)) => frames,
            Err(e) => return Err(reason(endpoint, target, &e).await),
        };
        let (sink, frames) = frames.split();
        let (outgoing, messages) = mpsc::unbounded_channel();
        let writer = rt::spawn(write(sink, messages));
        Ok(Link { frames, outgoing, writer, heard: Instant::now(), partial: None })
    }

    /// Sends a message. If the connection is broken, [`Link::next`] reports it. The input window
    /// bounds the queue.
    pub(in crate::cli) fn send(&self, message: Message) {
        let _ = self.outgoing.send(message);
    }

    /// The next message. Cancel-safe.
    pub(in crate::cli) async fn next(&mut self) -> Incoming {
        loop {
            let frame = match timeout_at(self.heard + SILENCE_MAX, self.frames.next()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(e))) => return Incoming::Closed(None, e.to_string()),
                Ok(None) => return Incoming::Closed(None, "the connection broke".into()),
                Err(_) => return Incoming::Closed(None, "the server went silent".into()),
            };
            self.heard = Instant::now();
            if let Some(incoming) = self.frame(frame) {
                return incoming;
            }
        }
    }

    fn frame(&mut self, frame: Frame) -> Option<Incoming> {
        match frame {
            Frame::Text(bytes) => Some(text(&bytes)),
            Frame::Binary(bytes) => Some(Incoming::Binary(bytes)),
            Frame::Ping(payload) => {
                self.send(Message::Pong(payload));
                None
            }
            Frame::Pong(_) => None,
            Frame::Close(reason) => {
                let reason = reason.map(|r| (r.code.into(), r.description.unwrap_or_default()));
                let (code, reason) = reason.unzip();
                Some(Incoming::Closed(code, reason.unwrap_or_default()))
            }
            Frame::Continuation(item) => self.piece(item),
        }
    }

    /// Joins the fragments of a message, since a proxy may fragment it.
    fn piece(&mut self, item: Item) -> Option<Incoming> {
        match item {
            Item::FirstText(bytes) => self.partial = Some((true, BytesMut::from(&bytes[..]))),
            Item::FirstBinary(bytes) => self.partial = Some((false, BytesMut::from(&bytes[..]))),
            Item::Continue(bytes) | Item::Last(bytes)
                if self.partial.as_ref().map_or(0, |p| p.1.len()) + bytes.len() > FRAME_MAX =>
            {
                return Some(Incoming::Closed(None, "the server sent too much at once".into()));
            }
            Item::Continue(bytes) => self.partial.as_mut()?.1.extend_from_slice(&bytes),
            Item::Last(bytes) => {
                let (is_text, mut whole) = self.partial.take()?;
                whole.extend_from_slice(&bytes);
                let whole = whole.freeze();
                return Some(if is_text { text(&whole) } else { Incoming::Binary(whole) });
            }
        }
        None
    }

    /// Closes the connection with a close frame, so that the server notices at once.
    pub(in crate::cli) async fn close(self) {
        let Link { outgoing, writer, .. } = self;
        let reason = CloseReason { code: actix_http::ws::CloseCode::Normal, description: None };
        let _ = outgoing.send(Message::Close(Some(reason)));
        drop(outgoing);
        let _ = timeout(CLOSE_TIMEOUT, writer).await;
    }
}

async fn write(mut sink: SplitSink<Frames, Message>, mut messages: UnboundedReceiver<Message>) {
    while let Some(message) = messages.recv().await {
        // The reading half reports a broken connection, too.
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

fn text(bytes: &[u8]) -> Incoming {
    Incoming::Text(String::from_utf8_lossy(bytes).into_owned())
}

/// Why there is no connection. A refused WebSocket has no words; the session itself tells them where a
/// machine of the fleet is not reached or not known.
async fn reason(endpoint: &Endpoint, target: &str, e: &WsClientError) -> Failure {
    let may_be_machine = match e {
        WsClientError::InvalidResponseStatus(status) => [404, 503].contains(&status.as_u16()),
        WsClientError::SendRequest(SendRequestError::Timeout) => target.contains("/nodes/"),
        _ => false,
    };
    let session = target.split("/attach").next().unwrap_or_default();
    if may_be_machine && let Ok(client) = Client::new(endpoint.clone()) {
        match client.get_at(session).await {
            Err(failure @ Failure::UnknownNode(_)) => return failure,
            Err(failure) if failure.node_away().is_some() => return failure,
            _ => {}
        }
    }
    trouble(endpoint, e)
}

/// The same without the session's own words.
fn trouble(endpoint: &Endpoint, e: &WsClientError) -> Failure {
    let at = endpoint.at();
    match e {
        WsClientError::SendRequest(e) => unreachable(endpoint, e),
        WsClientError::InvalidResponseStatus(status) if status.as_u16() == 401 => {
            Failure::Other("the server does not accept the token".into())
        }
        WsClientError::InvalidResponseStatus(status) if status.is_client_error() => {
            Failure::Other(format!("the server at {at} refused to attach: {status}"))
        }
        e => Failure::Unreachable(format!("the server at {at} did not attach: {e}")),
    }
}
