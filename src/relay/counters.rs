//! What streams count, for `/metrics`. Any thread counts without waiting; how streams ended is counted once each.

use super::flow::Fault;
use crate::metrics::Label;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The counters of all streams of a server.
#[derive(Debug, Default)]
pub struct RelayCounters {
    /// Streams that this machine has opened, or others to it.
    pub opened: Counter,
    /// Streams that are over, by why.
    pub closed: Family<Label, Counter>,
    /// Bytes of streams that have come.
    pub bytes_in: Counter,
    /// Bytes of streams that were sent.
    pub bytes_out: Counter,
    /// Messages that have come.
    pub messages_in: Counter,
    /// Messages that were sent.
    pub messages_out: Counter,
    /// Times that the other side was asked again whether it takes a stream, or what it has of one, since it had not
    /// said so for a second.
    pub asked_again: Counter,
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// One of its ends has closed it, or both.
    Orderly,
    /// Messages were lost on the way, or came that cannot be.
    Gap,
    /// The other side did not answer in time.
    Timeout,
    /// The other server was not heard, or was started anew; or this one has lost its name.
    LostPeer,
    /// The token or login that it was opened with has ended.
    Revoked,
    /// The other side did not take it, or has given it up.
    Refused,
}

impl RelayCounters {
    /// A stream is over.
    pub(super) fn closes(&self, why: Closed) {
        let reason = match why {
            Closed::Orderly => "orderly",
            Closed::Gap => "gap",
            Closed::Timeout => "timeout",
            Closed::LostPeer => "lost_peer",
            Closed::Revoked => "revoked",
            Closed::Refused => "refused",
        };
        self.closed.get_or_create(&[("reason", reason)]).inc();
    }
}

impl From<Fault> for Closed {
    fn from(fault: Fault) -> Closed {
        match fault {
            Fault::Gap | Fault::TooMuch | Fault::AfterEnd => Closed::Gap,
            Fault::Late => Closed::Timeout,
        }
    }
}
