//! The fleet in `/metrics`: the machines as this server's directory has them, and the streams between them.

use super::nodes::shown;
use crate::fleet::Fleet;
use crate::registry::Roster;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

/// The most machines with numbers of their own: each is a few time series for whoever collects them.
const MACHINES_MAX: usize = 1000;

/// Numbers of machines.
type Machines<N, A> = Family<[(&'static str, String); 1], Gauge<N, A>>;

/// Registers what a server knows of its fleet.
pub(in crate::http) fn register(registry: &mut Registry, fleet: &Fleet, roster: &Roster) {
    streams(registry.sub_registry_with_prefix("relay"), fleet);
    let registry = registry.sub_registry_with_prefix("fleet");
    let connected = ConstGauge::new(i64::from(fleet.is_connected()));
    let about = "Whether this server is connected to NATS and has its name in the fleet";
    registry.register("connected", about, connected);
    registry.register(
        "reconnects",
        "Times that the connection to NATS stood again after it was lost",
        ConstCounter::new(fleet.reconnects()),
    );
    // A machine that does not answer for others does not read the directory.
    if !fleet.serves() {
        return;
    }
    if let Some(ago) = fleet.directory().heard_ago() {
        let age = ConstGauge::new(ago.as_secs_f64());
        let about = "Time since the directory was last heard";
        registry.register_with_unit("heard_age", about, Unit::Seconds, age);
    }
    let lines = ConstGauge::new(count(fleet.directory().lines()));
    registry.register("session_lines", "Sessions in the directory, ended ones included", lines);
    machines(registry, fleet, roster);
}

fn machines(registry: &mut Registry, fleet: &Fleet, roster: &Roster) {
    let nodes = shown(fleet, roster);
    let by_state = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for state in ["online", "offline"] {
        let number = nodes.iter().filter(|node| node.state == state).count();
        by_state.get_or_create_owned(&[("state", state)]).set(count(number));
    }
    registry.register("machines", "Machines that are known", by_state);
    let up = Machines::<i64, AtomicI64>::default();
    let sessions = Machines::<i64, AtomicI64>::default();
    let load = Machines::<f64, AtomicU64>::default();
    let heard = Machines::<f64, AtomicU64>::default();
    let refused = Family::<[(&'static str, String); 1], Counter>::default();
    for node in nodes.into_iter().take(MACHINES_MAX) {
        let of = [("node", node.name)];
        refused.get_or_create_owned(&of).inc_by(node.refused_lines);
        up.get_or_create_owned(&of).set(i64::from(node.state == "online"));
        sessions.get_or_create_owned(&of).set(count(node.live_sessions));
        if let Some(known) = node.load {
            load.get_or_create_owned(&of).set(known);
        }
        if let Some(ago) = node.heard_ago {
            heard.get_or_create_owned(&of).set(Duration::as_secs_f64(&ago));
        }
    }
    let about = "Lines of a machine that said more than a session, or a machine, may have";
    registry.register("refused_lines", about, refused);
    registry.register("node_up", "Whether a machine is online", up);
    registry.register("node_sessions", "Sessions of a machine that have not ended", sessions);
    registry.register("node_load", "Load of a machine in the last minute", load);
    let about = "Time since a machine was last heard";
    registry.register_with_unit("node_heard_age", about, Unit::Seconds, heard);
}

fn streams(registry: &mut Registry, fleet: &Fleet) {
    let open = ConstGauge::new(count(fleet.streams()));
    registry.register("streams", "Open streams to and from other machines", open);
    let counters = fleet.counters();
    registry.register("closed", "Streams that are over, by why", counters.closed.clone());
    for (name, about, counter) in [
        ("opened", "Streams that were opened", &counters.opened),
        ("messages_in", "Messages of streams that came", &counters.messages_in),
        ("messages_out", "Messages of streams that were sent", &counters.messages_out),
        (
            "asked_again",
            "Times that another machine was asked once more what it has, after a second without an answer",
            &counters.asked_again,
        ),
    ] {
        registry.register(name, about, counter.clone());
    }
    for (name, about, counter) in [
        ("in", "Bytes that came over streams", &counters.bytes_in),
        ("out", "Bytes that were sent over streams", &counters.bytes_out),
    ] {
        registry.register_with_unit(name, about, Unit::Bytes, counter.clone());
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
