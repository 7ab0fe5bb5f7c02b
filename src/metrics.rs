//! The counters of the server, for `/metrics`.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::time::Duration;

/// The label of a metric that has one.
pub type Label = [(&'static str, &'static str); 1];

/// The upper bound of the first bucket. Each bucket reaches twice as far as the one before: from 50
/// µs to 1.6 s.
const FIRST_BUCKET_S: f64 = 50e-6;
const BUCKETS: u16 = 16;

/// Counters that any thread increments.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Bytes that programs have printed.
    pub output: Counter,
    /// Bytes of output and snapshots sent to clients.
    pub sent: Counter,
    /// Bytes of input from clients.
    pub input: Counter,
    /// Starts of a session's command after its end.
    pub restarts: Counter,
    /// Waits of a program because no client took its output.
    pub stalls: Counter,
    /// Snapshots sent to a client that was too far behind.
    pub resyncs: Counter,
    /// Looks at what a session's program does.
    pub looks: Counter,
    /// Bytes of output written to recordings.
    pub recorded: Counter,
    /// Bytes of output and input missing from recordings.
    pub recording_gaps: Counter,
    /// WebSocket clients, by subprotocol.
    pub connections: Family<Label, Gauge>,
    /// Open HTTP connections, by whether an authenticated request has come over them.
    pub http_connections: Family<Label, Gauge>,
    /// HTTP connections that were refused or closed by the server, by reason.
    pub connections_closed: Family<Label, Counter>,
    /// Deliveries of hooks, by what became of them.
    pub hook_deliveries: Family<Label, Counter>,
    /// Notifications of browsers, by what became of them.
    pub push_deliveries: Family<Label, Counter>,
    /// Deliveries and notifications that are still to be made.
    pub hook_queue: Gauge,
    /// The time from a client's input to the next output that is written to its socket.
    pub echo: Latency,
}

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct Latency(Histogram);

impl Latency {
    /// Counts a duration.
    pub fn observe(&self, taken: Duration) {
        self.0.observe(taken.as_secs_f64());
    }
}

impl Default for Latency {
    fn default() -> Self {
        Latency(Histogram::new(exponential_buckets(FIRST_BUCKET_S, 2.0, BUCKETS)))
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
