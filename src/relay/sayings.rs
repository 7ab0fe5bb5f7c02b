//! Messages beside the bytes of streams, on their way to the connection.

use super::counters::RelayCounters;
use super::wire::Frame;
use async_nats::{Client, Subject};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a message may wait to be handed to the connection.
const WAIT: Duration = Duration::from_secs(10);
/// Messages that may wait to be handed to the connection. A stream has few of these at a time.
const WAITING_MAX: usize = 64 << 10;

/// Where they are left. Clones share it.
#[derive(Clone)]
pub(super) struct Sayings {
    leave: mpsc::Sender<(Subject, Bytes)>,
    counters: Arc<RelayCounters>,
}

/// Those that were left.
pub(super) struct Said(mpsc::Receiver<(Subject, Bytes)>);

/// An empty queue.
pub(super) fn sayings(counters: Arc<RelayCounters>) -> (Sayings, Said) {
    let (leave, left) = mpsc::channel(WAITING_MAX);
    (Sayings { leave, counters }, Said(left))
}

impl Sayings {
    /// Leaves a message. What finds no room is lost, which the other side notices.
    pub(super) fn say(&self, subject: Subject, frame: &Frame) {
        if self.leave.try_send((subject, frame.encode())).is_ok() {
            self.counters.messages_out.inc();
        }
    }
}

impl Said {
    /// Hands messages to the connection, in order.
    pub(super) async fn hand_over(mut self, client: Client) {
        while let Some((subject, payload)) = self.0.recv().await {
            // While there is no connection, its queue fills. What it does not take is lost.
            let _ = timeout(WAIT, client.publish(subject, payload)).await;
        }
    }
}
