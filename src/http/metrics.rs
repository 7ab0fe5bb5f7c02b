//! `/metrics`: what Prometheus reads, in the OpenMetrics text format.

use super::api::{Api, stopping};
use super::auth::Access;
use super::fleet;
use super::problem::Problem;
use crate::lifecycle::Status;
use crate::metrics::Label;
use crate::registry::{CountSessions, Counted};
use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::fs;

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
    if let Some(fleet) = &api.fleet {
        fleet::register(&mut registry, fleet, &api.roster);
    }
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
    registry.register(
        "hook_deliveries",
        "Events for hooks, by what became of them; \"retried\" counts attempts that failed",
        metrics.hook_deliveries.clone(),
    );
    registry.register(
        "push_deliveries",
        "Notifications for browsers, by what became of them; \"retried\" counts attempts that failed",
        metrics.push_deliveries.clone(),
    );
    registry.register(
        "hook_queue",
        "Events that hooks and push services have not taken yet",
        metrics.hook_queue.clone(),
    );
    for (name, help, counter) in [
        ("output", "Output of programs", &metrics.output),
        ("sent", "Output and screens sent to clients", &metrics.sent),
        ("input", "Input of clients", &metrics.input),
        ("recorded", "Output in recordings", &metrics.recorded),
        ("recording_gaps", "Output and input that recordings lack", &metrics.recording_gaps),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    }
    for (name, help, counter) in [
        ("restarts", "Times that a session's command was started again", &metrics.restarts),
        (
            "ring_stalls",
            "Times that a program waited because no client took its output",
            &metrics.stalls,
        ),
        (
            "resyncs",
            "Times that a client was too far behind and was sent a screen",
            &metrics.resyncs,
        ),
        (
            "attention_looks",
            "Looks at what the program of a session does, after it has printed something",
            &metrics.looks,
        ),
    ] {
        registry.register(name, help, counter.clone());
    }
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
    let healthy = ConstGauge::new(i64::from(api.store.healthy()));
    registry.register("healthy", "Whether the last write to the database went well", healthy);
    let waiting = ConstGauge::new(i64::try_from(stats.waiting).unwrap_or(i64::MAX));
    registry.register("waiting", "Changes that wait to be written", waiting);
    for (name, help, count) in [
        ("rejected", "Changes that the database will never take", stats.rejected),
        ("dropped", "Transitions given up because too many waited", stats.dropped),
        ("unaudited", "Entries of the audit log given up because too many waited", stats.unaudited),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
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
        ("takeovers", "Times that a holder or its guardian was replaced", stats.takeovers),
        (
            "completed",
            "Reads and writes that a dead holder had done and its successor noted",
            stats.completed,
        ),
        ("gaps", "Reads and writes of a dead holder that nobody knows of", stats.gaps),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
}

/// A process's resources at one moment.
struct Process {
    cpu_s: f64,
    resident: i64,
    threads: i64,
    open_files: i64,
}

impl Process {
    /// The server's own process.
    fn current() -> Option<Self> {
        Process::of(i32::try_from(std::process::id()).ok()?)
    }

    /// `None` if it is gone, or may not be read.
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The index counts from the state, the third field of proc(5).
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse().ok());
        let (user, system): (i64, i64) = (field(14)?, field(15)?);
        let known = |variable| sysconf(variable).ok().flatten();
        Some(Process {
            cpu_s: (user + system) as f64 / known(SysconfVar::CLK_TCK)? as f64,
            resident: field(24)? * known(SysconfVar::PAGE_SIZE)?,
            threads: field(20)?,
            open_files: open_files(&format!("/proc/{pid}/fd"))?,
        })
    }

    fn register(self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("process");
        let cpu = ConstCounter::new(self.cpu_s);
        registry.register_with_unit("cpu", "User and system time", Unit::Seconds, cpu);
        let resident = ConstGauge::new(self.resident);
        registry.register_with_unit("resident_memory", "Memory", Unit::Bytes, resident);
        registry.register("threads", "Threads", ConstGauge::new(self.threads));
        registry.register("open_fds", "Open descriptors", ConstGauge::new(self.open_files));
    }
}

fn open_files(directory: &str) -> Option<i64> {
    // Since Linux 6.2 the directory's size is the number of descriptors; before, it is 0.
    let count = match fs::metadata(directory).ok()?.len() {
        0 => fs::read_dir(directory).ok()?.count() as u64,
        count => count,
    };
    i64::try_from(count).ok()
}
