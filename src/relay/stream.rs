//! One end of a stream: bytes in and out, as of a connection.

use super::counters::{Closed, RelayCounters};
use super::flow::{Fault, Flow, Read};
use super::sayings::Sayings;
use super::wire::{self, Frame};
use async_nats::message::OutboundMessage;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::Sink;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The reason of a stream that one side simply closes.
pub(super) const CLOSED: &str = "the other side has closed it";

/// Resolves an opening: the node has taken the stream, or says why not.
pub(super) type Answer = oneshot::Sender<Result<(), String>>;

/// What the hub and the stream share.
pub(super) struct Shared {
    state: Mutex<State>,
    revoked: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    flow: Flow,
    broken: Option<Arc<str>>,
    /// What it counts as once it is over, unless it ends in order.
    closed: Option<Closed>,
    answer: Option<Answer>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    /// A stream; `answer` waits for the other side to take it.
    pub(super) fn new(answer: Option<Answer>) -> Arc<Shared> {
        let state = State { answer, ..State::default() };
        Arc::new(Shared { state: Mutex::new(state), revoked: Arc::default() })
    }

    /// The other side has taken the stream.
    pub(super) fn is_taken(&self) {
        if let Some(answer) = self.lock().answer.take() {
            let _ = answer.send(Ok(()));
        }
    }

    /// A message has come. Returns what is to be said to it.
    pub(super) fn receive(&self, frame: Frame) -> Result<Option<Frame>, Fault> {
        let mut state = self.lock();
        let State { flow, .. } = &mut *state;
        let mut reply = None;
        match frame {
            Frame::Data { number, bytes } => flow.comes(number, bytes)?,
            Frame::End { number } => flow.other_ends(number)?,
            Frame::Mark { next } => reply = Some(flow.asked(next)?),
            Frame::Credit { next, limit } => flow.told(next, limit, Instant::now()),
            Frame::Revoke => self.revoked.store(true, Ordering::Release),
            Frame::Open { .. }
            | Frame::Accept { .. }
            | Frame::Close { .. }
            | Frame::Alive { .. } => {}
        }
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        reader.into_iter().chain(writer).for_each(Waker::wake);
        Ok(reply)
    }

    /// What is to be asked, now and then.
    pub(super) fn ask(&self, now: Instant) -> Result<Option<Frame>, Fault> {
        self.lock().flow.ask(now)
    }

    /// The other server was started anew: its earlier life knew this stream, unless it was not taken yet.
    pub(super) fn fail_if_taken(&self, why: &str) {
        if self.lock().answer.is_none() {
            self.fail(why, Closed::LostPeer);
        }
    }

    /// The other side has not taken it in time.
    pub(super) fn is_late(&self) {
        self.lock().closed.get_or_insert(Closed::Timeout);
    }

    /// The stream cannot go on.
    pub(super) fn fail(&self, why: &str, closed: Closed) {
        let mut state = self.lock();
        if state.broken.is_some() {
            return;
        }
        state.broken = Some(why.into());
        state.closed = Some(closed);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        let answer = state.answer.take();
        drop(state);
        reader.into_iter().chain(writer).for_each(Waker::wake);
        if let Some(answer) = answer {
            let _ = answer.send(Err(why.to_owned()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn broken(&self) -> Option<io::Error> {
        self.broken.as_ref().map(|why| io::Error::new(ErrorKind::ConnectionReset, why.to_string()))
    }
}

/// An open stream. Dropping it closes it.
pub struct RelayStream {
    pub(super) shared: Arc<Shared>,
    pub(super) sayings: Sayings,
    /// Where its messages go.
    pub(super) subject: Subject,
    pub(super) client: Client,
    pub(super) counters: Arc<RelayCounters>,
    /// Its place among the streams, which it has until it is dropped.
    pub(super) _place: Box<dyn Send + Sync>,
}

impl RelayStream {
    /// Turns true once what the stream was opened with is not valid any more.
    #[must_use]
    pub fn revoked(&self) -> Arc<AtomicBool> {
        self.shared.revoked.clone()
    }

    /// How to say so to the other side.
    #[must_use]
    pub fn revoker(&self) -> Revoker {
        let revoked = self.shared.revoked.clone();
        Revoker { sayings: self.sayings.clone(), subject: self.subject.clone(), revoked }
    }

    fn send(&mut self, payload: Bytes) -> io::Result<()> {
        let subject = self.subject.clone();
        let message = OutboundMessage { subject, reply: None, payload, headers: None };
        self.counters.messages_out.inc();
        Pin::new(&mut self.client).start_send(message).map_err(not_connected)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_ready(context).map_err(not_connected)
    }
}

fn not_connected(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::NotConnected, error.to_string())
}

/// Says that what a stream was opened with is not valid any more.
pub struct Revoker {
    sayings: Sayings,
    subject: Subject,
    revoked: Arc<AtomicBool>,
}

impl Revoker {
    /// Says it. The other side then ends the stream in its own way.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.sayings.say(self.subject.clone(), &Frame::Revoke);
    }
}

impl AsyncRead for RelayStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.shared.lock();
        match state.flow.read_into(buffer) {
            Read::Some(_) => {
                let credit = state.flow.credit();
                drop(state);
                if let Some(credit) = credit {
                    self.sayings.say(self.subject.clone(), &credit);
                }
                Poll::Ready(Ok(()))
            }
            Read::End => Poll::Ready(Ok(())),
            Read::Nothing => match state.broken() {
                Some(error) => Poll::Ready(Err(error)),
                None => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            },
        }
    }
}

impl AsyncWrite for RelayStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = {
            let mut state = self.shared.lock();
            if let Some(error) = state.broken() {
                return Poll::Ready(Err(error));
            }
            if state.flow.is_ended() {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            // Also where messages cannot be sent now: whoever breaks the stream wakes this.
            state.writer = Some(context.waker().clone());
            state.flow.room()
        };
        if room == 0 {
            return Poll::Pending;
        }
        ready!(self.poll_ready(context))?;
        let some = &bytes[..bytes.len().min(room)];
        if some.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let number = self.shared.lock().flow.sends(some.len(), Instant::now());
        self.counters.bytes_out.inc_by(some.len() as u64);
        self.send(wire::data(number, some))?;
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.shared.lock();
            if state.flow.is_ended() || state.broken.is_some() {
                return Poll::Ready(Ok(()));
            }
            state.writer = Some(context.waker().clone());
        }
        ready!(self.poll_ready(context))?;
        let number = self.shared.lock().flow.ends(Instant::now());
        if let Some(number) = number {
            self.send(Frame::End { number }.encode())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for RelayStream {
    fn drop(&mut self) {
        let (is_over, closed) = {
            let state = self.shared.lock();
            (state.broken.is_some() || state.flow.is_over(), state.closed)
        };
        let closed = match closed.unwrap_or(Closed::Orderly) {
            Closed::Orderly | Closed::Refused if self.shared.revoked.load(Ordering::Acquire) => {
                Closed::Revoked
            }
            closed => closed,
        };
        self.counters.closes(closed);
        if !is_over {
            let reason = CLOSED.to_owned();
            self.sayings.say(self.subject.clone(), &Frame::Close { reason });
        }
    }
}
