//! `/metrics`: what Prometheus reads, in the OpenMetrics text format.

mod process;

use super::api::{Api, stopping};
use super::auth::Access;
use super::problem::Problem;
use crate::lifecycle::Status;
use crate::metrics::Label;
use crate::registry::{CountSessions, Counted};
use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use process::Process;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(api: Data<Api>, access: Data<Access>) -> Result<HttpResponse, Problem> {
    let counted = api.registry.send(CountSessions).await.map_err(stopping)?;
    let holder_pid = api.holder.pid();
    let processes = web::block(move || {
        // A process that is ending may be gone already; it is left out then.
        [("server", Process::current()), ("holder", Process::of(holder_pid))]
    });
    let processes = processes.await.unwrap_or_default();
    let mut registry = Registry::with_prefix("stayd");
    sessions(&mut registry, &api, counted);
    registry.register(
        "wrong_tokens",
        "Requests and logins with a wrong token or cookie",
        access.guesses.failed.clone(),
    );
    store(&mut registry, &api);
    holder(&mut registry, &api).await;
    for (name, process) in processes {
        if let Some(process) = process {
            process.register(registry.sub_registry_with_label(("process".into(), name.into())));
        }
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

fn sessions(registry: &mut Registry, api: &Api, counted: Counted) {
    let sessions = Family::<Label, Gauge>::default();
    for status in Status::ALL.into_iter().filter(|status| status.is_live()) {
        let count = counted.sessions.get(&status).copied().unwrap_or(0);
        sessions.get_or_create_owned(&[("status", status.as_str())]).set(count);
    }
    registry.register("sessions", "Live sessions", sessions);
    let repairs = Family::<Label, Gauge>::default();
    for (kind, count) in counted.repairs.0 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        repairs.get_or_create_owned(&[("kind", kind)]).set(count);
    }
    registry.register("repairs", "Differences mended since the server started", repairs);
    let metrics = &api.metrics;
    registry.register("connections", "WebSocket clients", metrics.connections.clone());
    registry.register(
        "http_connections",
        "Open HTTP connections, WebSockets among them, by whether a request with rights came",
        metrics.http_connections.clone(),
    );
    registry.register(
        "http_connections_closed",
        "HTTP connections not accepted, or closed for others or for being stuck",
        metrics.connections_closed.clone(),
    );
    let bytes = |registry: &mut Registry, name, help, counter| {
        registry.register_with_unit(name, help, Unit::Bytes, counter);
    };
    bytes(registry, "output", "Output of programs", metrics.output.clone());
    bytes(registry, "sent", "Output and screens sent to clients", metrics.sent.clone());
    bytes(registry, "input", "Input of clients", metrics.input.clone());
    bytes(registry, "recorded", "Output in recordings", metrics.recorded.clone());
    bytes(
        registry,
        "recording_gaps",
        "Output and input that recordings lack",
        metrics.recording_gaps.clone(),
    );
    registry.register(
        "restarts",
        "Times that a session's command was started again",
        metrics.restarts.clone(),
    );
    registry.register(
        "ring_stalls",
        "Times that a program waited because no client took its output",
        metrics.stalls.clone(),
    );
    registry.register(
        "resyncs",
        "Times that a client was too far behind and was sent a screen",
        metrics.resyncs.clone(),
    );
    registry.register_with_unit(
        "echo",
        "From input to the next output handed to the client that typed it",
        Unit::Seconds,
        metrics.echo.clone(),
    );
}

fn store(registry: &mut Registry, api: &Api) {
    let stats = api.store.stats();
    let registry = registry.sub_registry_with_prefix("store");
    registry.register(
        "healthy",
        "Whether the last write to the database went well",
        ConstGauge::new(i64::from(api.store.healthy())),
    );
    registry.register(
        "waiting",
        "Changes that wait to be written",
        ConstGauge::new(i64::try_from(stats.waiting).unwrap_or(i64::MAX)),
    );
    registry.register(
        "rejected",
        "Changes that the database will never take",
        ConstCounter::new(stats.rejected),
    );
    registry.register(
        "dropped",
        "Transitions given up because too many waited",
        ConstCounter::new(stats.dropped),
    );
    registry.register_with_unit(
        "transaction",
        "Transactions of the database",
        Unit::Seconds,
        api.store.latency(),
    );
}

async fn holder(registry: &mut Registry, api: &Api) {
    let stats = api.holder.stats().await;
    let registry = registry.sub_registry_with_prefix("holder");
    let up = ConstGauge::new(i64::from(stats.is_ok()));
    registry.register("up", "Whether the holder answers", up);
    let Ok(stats) = stats else { return };
    registry.register(
        "sessions",
        "Sessions held, ended ones that are not stored yet included",
        ConstGauge::new(i64::try_from(stats.sessions).unwrap_or(i64::MAX)),
    );
    for (name, help, count) in [
        ("orphans_reaped", "Processes that were left to the holder", stats.orphans_reaped),
        ("refused", "Connections of a foreign user or version", stats.refused),
        ("malformed", "Messages that made no sense", stats.malformed),
        ("panics", "Mistakes of its own that the holder survived", stats.panics),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
}
