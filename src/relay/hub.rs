//! All streams of one connection: opened, taken, handed what comes for them, and ended with the other side.

use super::counters::{Closed, RelayCounters};
use super::sayings::{Sayings, sayings};
use super::stream::{CLOSED, RelayStream, Shared};
use super::subject::{ALIVE, End, NodeName, all_alive, all_to_lane, all_to_node, read, subject};
use super::table::{Key, STREAMS_MAX, Table};
use super::wire::{Frame, OPENING_MAX};
use async_nats::connection::State as Connection;
use async_nats::{Client, Message, Subject, SubscribeError};
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long a node may take to take a stream.
const OPEN: Duration = Duration::from_secs(5);
/// How long after an opening without an answer the node is asked once more. A message that is sent to a machine
/// in the moment when its connection breaks is lost; to open a stream twice is to open it once.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How often streams are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every how many of these looks the other sides are told that this one lives.
const ALIVE_EVERY: u32 = 3;
/// Streams that may wait to be served.
const ARRIVALS_MAX: usize = 1024;

/// A stream that an edge has opened.
pub struct Arrival {
    /// The stream.
    pub stream: RelayStream,
    /// The machine that has opened it.
    pub edge: NodeName,
    /// What it said in opening it.
    pub opening: Bytes,
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// This machine is not connected.
    #[error("this server has no connection to the fleet's NATS at present")]
    Disconnected,
    /// The node has not answered.
    #[error("it did not answer within {seconds} s", seconds = OPEN.as_secs())]
    Silent,
    /// The node does not take it.
    #[error("it refused: {0}")]
    Refused(String),
    /// Too many are open, or it is too long.
    #[error("{0}")]
    TooMuch(String),
}

/// This machine, as those at the other ends know it, and its counters.
#[derive(Clone)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// Tells this life of the server from others of the same name.
    pub run: u64,
    /// The counters of all of its streams.
    pub counters: Arc<RelayCounters>,
}

/// The streams of one connection. Its tasks run on the thread that has started it, until that ends.
pub(super) struct Hub {
    me: Identity,
    client: Client,
    /// The number of this connection, which is a part of the words of the streams that it opens.
    lane: usize,
    last: AtomicU64,
    table: Mutex<Table>,
    sayings: Sayings,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Hub {
    pub(super) fn new(me: Identity, client: Client, lane: usize) -> Arc<Hub> {
        let (sayings, said) = sayings(me.counters.clone());
        let (last, table, tasks) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        let hub = Arc::new(Hub { me, client, lane, last, table, sayings, tasks });
        hub.run(said.hand_over(hub.client.clone()));
        hub.run(hub.clone().keep_looking());
        hub
    }

    /// Takes what edges open. It arrives at the receiver.
    ///
    /// # Errors
    /// The subscription was refused by the client.
    pub(super) async fn take_streams(
        self: &Arc<Self>,
    ) -> Result<mpsc::Receiver<Arrival>, SubscribeError> {
        let (arrive, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let messages = self.client.subscribe(all_to_node(&self.me.name)).await?;
        self.run(self.clone().listen(End::Node, messages, Some(arrive)));
        Ok(arrivals)
    }

    /// Hears what nodes say to the streams that this one opens.
    ///
    /// # Errors
    /// As [`Hub::take_streams`].
    pub(super) async fn open_streams(self: &Arc<Self>) -> Result<(), SubscribeError> {
        let messages = self.client.subscribe(all_to_lane(&self.me.name, self.lane)).await?;
        self.run(self.clone().listen(End::Edge, messages, None));
        Ok(())
    }

    /// Hears which nodes live, and tells it.
    ///
    /// # Errors
    /// As [`Hub::take_streams`].
    pub(super) async fn hear_alive(
        self: &Arc<Self>,
        tell: impl Fn(&NodeName, u64) + 'static,
    ) -> Result<(), SubscribeError> {
        let mut messages = self.client.subscribe(all_alive(&self.me.name)).await?;
        let hub = self.clone();
        self.run(async move {
            while let Some(message) = messages.next().await {
                if let Some((node, ALIVE)) = hub.read(End::Edge, &message)
                    && let Some(Frame::Alive { run }) = Frame::decode(&message.payload)
                {
                    tell(&node, run);
                }
            }
        });
        Ok(())
    }

    fn run(&self, task: impl Future<Output = ()> + 'static) {
        let task = actix::spawn(task);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends all streams, and takes no more.
    pub(super) fn stop(&self, why: &str) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        let streams = self.lock().all();
        for shared in streams {
            shared.fail(why, Closed::LostPeer);
        }
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == Connection::Connected
    }

    /// Streams that are open now.
    pub(super) fn streams(&self) -> usize {
        self.lock().len()
    }

    /// Streams that this machine has opened, ever.
    pub(super) fn opened(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Opens a stream to a node.
    ///
    /// # Errors
    /// The node cannot be asked, does not answer, or refuses.
    pub(super) async fn open(
        self: &Arc<Self>,
        node: &NodeName,
        opening: Bytes,
    ) -> Result<RelayStream, OpenError> {
        if !self.is_connected() {
            return Err(OpenError::Disconnected);
        }
        if opening.len() > OPENING_MAX {
            let detail = format!("the rights of this token take more than {OPENING_MAX} bytes");
            return Err(OpenError::TooMuch(detail));
        }
        let count = self.last.fetch_add(1, Ordering::Relaxed);
        let stream = format!("{}.{:016x}{count:x}", self.lane, self.me.run);
        let key = Key { end: End::Edge, other: node.clone(), stream: stream.into() };
        let (answer, mut answered) = oneshot::channel();
        let shared = Shared::new(Some(answer));
        if !self.lock().add(key.clone(), shared.clone(), None) {
            let detail = format!("there are {STREAMS_MAX} streams to {node} already");
            return Err(OpenError::TooMuch(detail));
        }
        self.me.counters.opened.inc();
        let stream = self.stream(key, shared.clone());
        let open = Frame::Open { run: self.me.run, opening };
        self.say(stream.subject.clone(), &open);
        let asking = async {
            loop {
                match timeout(OPEN_AGAIN, &mut answered).await {
                    Ok(answer) => return answer,
                    Err(_) => {
                        self.me.counters.asked_again.inc();
                        self.say(stream.subject.clone(), &open);
                    }
                }
            }
        };
        match timeout(OPEN, asking).await {
            Ok(Ok(Ok(()))) => Ok(stream),
            Ok(Ok(Err(why))) => Err(OpenError::Refused(why)),
            Ok(Err(_)) | Err(_) => {
                shared.is_late();
                Err(OpenError::Silent)
            }
        }
    }

    fn stream(self: &Arc<Self>, key: Key, shared: Arc<Shared>) -> RelayStream {
        let (subject, client, sayings) =
            (self.subject_of(&key), self.client.clone(), self.sayings.clone());
        let (place, counters) =
            (Box::new(Place { hub: self.clone(), key }), self.me.counters.clone());
        RelayStream { shared, sayings, subject, client, counters, _place: place }
    }

    fn subject_of(&self, key: &Key) -> Subject {
        subject(key.far(), &key.other, &self.me.name, &key.stream).into()
    }

    /// Ends all streams to a node that lives another life by now.
    pub(super) fn is_now(&self, node: &NodeName, run: u64) {
        let over = self.lock().is_now(End::Edge, node, run);
        fail_all(over);
    }

    fn say(&self, subject: Subject, frame: &Frame) {
        self.sayings.say(subject, frame);
    }

    /// Hands what comes to the streams.
    async fn listen(
        self: Arc<Self>,
        end: End,
        mut messages: async_nats::Subscriber,
        arrive: Option<mpsc::Sender<Arrival>>,
    ) {
        while let Some(message) = messages.next().await {
            self.take(end, message, arrive.as_ref());
        }
    }

    fn take(self: &Arc<Self>, end: End, message: Message, arrive: Option<&mpsc::Sender<Arrival>>) {
        let Some((other, word)) = self.read(end, &message) else { return };
        if word == ALIVE {
            if let Some(Frame::Alive { run }) = Frame::decode(&message.payload) {
                let over = self.lock().is_now(end, &other, run);
                fail_all(over);
            }
            return;
        }
        let key = Key { end, other, stream: word.into() };
        let close = |reason: &str| {
            let reason = reason.to_owned();
            self.say(self.subject_of(&key), &Frame::Close { reason });
        };
        let shared = self.lock().heard(&key);
        match (Frame::decode(&message.payload), shared) {
            (Some(Frame::Open { run, opening }), None) => match arrive {
                Some(arrive) => self.take_opening(key, run, opening, arrive),
                None => close("this server takes no streams"),
            },
            // The edge has not heard that it was taken.
            (Some(Frame::Open { .. }), Some(_)) if arrive.is_some() => {
                self.say(self.subject_of(&key), &Frame::Accept { run: self.me.run });
            }
            (Some(Frame::Close { reason }), Some(shared)) => {
                let closed = if reason == CLOSED { Closed::Orderly } else { Closed::Refused };
                shared.fail(&reason, closed);
            }
            (Some(Frame::Accept { run }), Some(shared)) => {
                let over = self.lock().is_now(end, &key.other, run);
                fail_all(over);
                shared.is_taken();
            }
            (Some(frame), Some(shared)) => {
                if let Frame::Data { bytes, .. } = &frame {
                    self.me.counters.bytes_in.inc_by(bytes.len() as u64);
                }
                match shared.receive(frame) {
                    Ok(None) => {}
                    Ok(Some(reply)) => self.say(self.subject_of(&key), &reply),
                    Err(fault) => {
                        shared.fail(&fault.to_string(), fault.into());
                        close(&fault.to_string());
                    }
                }
            }
            (None, Some(shared)) => {
                shared.fail("the other side sends what is no message", Closed::Gap);
                close("a message could not be read");
            }
            (Some(Frame::Close { .. }) | None, None) => {}
            (Some(_), None) => close("the stream is not open here"),
        }
    }

    /// From whom, and about which stream, a message is.
    fn read<'a>(&self, end: End, message: &'a Message) -> Option<(NodeName, &'a str)> {
        // NATS itself can be made to send receipts and answers to subjects that their sender may not
        // publish to. Those have headers, or are JSON; messages of ours never are.
        let is_foreign = message.headers.is_some()
            || message.reply.is_some()
            || message.payload.first() == Some(&b'{');
        let read = read(&message.subject, end, &self.me.name).filter(|_| !is_foreign)?;
        self.me.counters.messages_in.inc();
        Some(read)
    }

    fn take_opening(
        self: &Arc<Self>,
        key: Key,
        run: u64,
        opening: Bytes,
        arrive: &mpsc::Sender<Arrival>,
    ) {
        let (shared, edge) = (Shared::new(None), key.other.clone());
        let subject = self.subject_of(&key);
        let refuse = |reason: &str| {
            self.say(subject.clone(), &Frame::Close { reason: reason.to_owned() });
        };
        let over = self.lock().is_now(key.end, &edge, run);
        fail_all(over);
        let Ok(place) = arrive.try_reserve() else {
            return refuse("too many streams are being opened; try again in a moment");
        };
        if !self.lock().add(key.clone(), shared.clone(), Some(run)) {
            return refuse(&format!("there are {STREAMS_MAX} streams from {edge} already"));
        }
        self.me.counters.opened.inc();
        self.say(subject.clone(), &Frame::Accept { run: self.me.run });
        place.send(Arrival { stream: self.stream(key, shared), edge, opening });
    }

    /// Asks for what is not confirmed, says that this side lives, and ends what is lost.
    async fn keep_looking(self: Arc<Self>) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 0_u32.. {
            every.tick().await;
            let now = Instant::now();
            let (lost, others, streams) = self.lock().look(now);
            for shared in lost {
                shared.fail("the other server was not heard for too long", Closed::LostPeer);
            }
            if look % ALIVE_EVERY == 0 {
                for (end, other) in others {
                    let key = Key { end, other, stream: ALIVE.into() };
                    self.say(self.subject_of(&key), &Frame::Alive { run: self.me.run });
                }
            }
            for (key, shared) in streams {
                match shared.ask(now) {
                    Ok(None) => {}
                    Ok(Some(mark)) => {
                        self.me.counters.asked_again.inc();
                        self.say(self.subject_of(&key), &mark);
                    }
                    Err(fault) => shared.fail(&fault.to_string(), fault.into()),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place in the table, until this is dropped.
struct Place {
    hub: Arc<Hub>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.lock().remove(&self.key);
    }
}

/// Ends the streams of an earlier life.
fn fail_all(streams: Vec<Arc<Shared>>) {
    for shared in streams {
        shared.fail_if_taken("the other server was started anew");
    }
}
