//! All streams of a machine. An edge has a connection of its own for each of its threads that open streams, which
//! is a lane: so what is typed goes from the client's connection to that of NATS without waking another thread.

use super::hub::{Arrival, Hub, Identity, OpenError};
use super::stream::RelayStream;
use super::subject::NodeName;
use async_nats::{Client, SubscribeError};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// The first stream of a thread waits so long for a lane. Without one it takes the first connection.
const WAIT: Duration = Duration::from_millis(500);
/// The pause after a failure until a thread's lane is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// The reason that streams are given when this machine leaves the fleet.
const NAME_LOST: &str = "this machine has lost its name in the fleet";
/// A lane is looked at so often, and is given up after so many looks in a row without a connection, or without
/// a stream.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOST_LOOKS: u32 = 5;
const IDLE_LOOKS: u32 = 20;

/// Connects once more, on the thread that asks. `None`: it could not.
pub type Connect = Box<dyn Fn() -> LocalBoxFuture<'static, Option<Client>> + Send + Sync>;

/// The streams of this machine.
pub struct Lanes {
    me: Identity,
    first: Arc<Hub>,
    /// The thread of the first.
    thread: ThreadId,
    connect: Connect,
    last: AtomicUsize,
    others: Mutex<HashMap<ThreadId, Arc<AsyncMutex<Lane>>>>,
    hubs: Mutex<Vec<Arc<Hub>>>,
    is_over: AtomicBool,
}

/// One thread's.
#[derive(Default)]
struct Lane {
    hub: Option<Arc<Hub>>,
    failed: Option<Instant>,
}

impl Lanes {
    /// Begins with a connection, whose tasks run on this thread. What edges open arrives at the receiver. This
    /// machine opens none itself unless it `opens`.
    ///
    /// # Errors
    /// The subscriptions were refused by the client.
    pub async fn start(
        me: Identity,
        client: Client,
        opens: bool,
        connect: Connect,
    ) -> Result<(Arc<Lanes>, mpsc::Receiver<Arrival>), SubscribeError> {
        let first = Hub::new(me.clone(), client, 0);
        let arrivals = first.take_streams().await?;
        let lanes = Arc::new(Lanes {
            me,
            hubs: Mutex::new(vec![first.clone()]),
            first,
            thread: thread::current().id(),
            connect,
            last: AtomicUsize::new(0),
            others: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        if opens {
            lanes.first.open_streams().await?;
            let known = Arc::downgrade(&lanes);
            let tell = move |node: &NodeName, run| {
                if let Some(lanes) = known.upgrade() {
                    lanes.is_now(node, run);
                }
            };
            lanes.first.hear_alive(tell).await?;
        }
        Ok((lanes, arrivals))
    }

    /// Ends all streams, and takes no more.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.hubs().drain(..).for_each(|hub| hub.stop(NAME_LOST));
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.first.is_connected()
    }

    /// Streams that are open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.hubs().iter().map(|hub| hub.streams()).sum()
    }

    /// Ends all streams to a node that lives another life by now.
    pub fn is_now(&self, node: &NodeName, run: u64) {
        self.hubs().iter().for_each(|hub| hub.is_now(node, run));
    }

    /// Opens a stream to a node.
    ///
    /// # Errors
    /// The node cannot be asked, does not answer, or refuses.
    pub async fn open(
        self: &Arc<Self>,
        node: &NodeName,
        opening: Bytes,
    ) -> Result<RelayStream, OpenError> {
        self.here().await.open(node, opening).await
    }

    /// This thread's lane, or the first.
    async fn here(self: &Arc<Self>) -> Arc<Hub> {
        let thread = thread::current().id();
        if thread == self.thread || !self.is_connected() {
            return self.first.clone();
        }
        let lane = {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            others.entry(thread).or_default().clone()
        };
        if let Ok(mut own) = lane.clone().try_lock_owned()
            && own.hub.is_none()
            && own.failed.is_none_or(|at| at.elapsed() >= AGAIN)
        {
            // A task of its own, because whoever asks may go away.
            let (lanes, lane) = (self.clone(), lane.clone());
            actix::spawn(async move {
                own.hub = lanes.start_here().await;
                own.failed = own.hub.is_none().then(Instant::now);
                let hub = own.hub.clone();
                drop(own);
                if let Some(hub) = hub {
                    lanes.while_useful(&hub).await;
                    // The lock is free, so no other task of this thread opens a stream in between.
                    lane.lock().await.hub = None;
                    lanes.hubs().retain(|other| !Arc::ptr_eq(other, &hub));
                    hub.stop("its connection to the fleet's NATS is lost");
                }
            });
        }
        let own = timeout(WAIT, lane.lock()).await.ok().and_then(|lane| lane.hub.clone());
        own.filter(|hub| hub.is_connected()).unwrap_or_else(|| self.first.clone())
    }

    /// Waits until a lane is of no use, because it has no streams, or because it or the first connection is lost,
    /// for some time. NATS may take no more than so many connections; the first of this machine and those of
    /// others, without which they are in no fleet, come before lanes.
    async fn while_useful(&self, hub: &Hub) {
        let (mut lost, mut idle, mut opened) = (0, 0, 0);
        while lost < LOST_LOOKS && idle < IDLE_LOOKS && !self.is_over.load(Ordering::SeqCst) {
            sleep(LOOK_EVERY).await;
            let is_connected = hub.is_connected() && self.first.is_connected();
            lost = if is_connected { 0 } else { lost + 1 };
            let before = std::mem::replace(&mut opened, hub.opened());
            idle = if hub.streams() > 0 || opened != before { 0 } else { idle + 1 };
        }
    }

    async fn start_here(&self) -> Option<Arc<Hub>> {
        let client = (self.connect)().await?;
        let lane = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let hub = Hub::new(self.me.clone(), client, lane);
        let opens = hub.open_streams().await.is_ok();
        if opens {
            // Before the look: whoever stops all finds it, or is seen.
            self.hubs().push(hub.clone());
        }
        if !opens || self.is_over.load(Ordering::SeqCst) {
            hub.stop(NAME_LOST);
            return None;
        }
        Some(hub)
    }

    fn hubs(&self) -> MutexGuard<'_, Vec<Arc<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
