//! Starts everything in order, handles signals, and stops in order.

use super::error::{ServeError, or_no_room};
use super::listen::{Listening, listen};
use super::state_dir::{lock, write_private};
use crate::audit::Audit;
use crate::config::{Settings, account};
use crate::connections::{self, Connections, Exposed, Listeners, Tls, local};
use crate::fleet::{self, FleetParts, Started};
use crate::holder::{Holder, Paths};
use crate::hooks::{Hooks, HooksParts};
use crate::http::Shots;
use crate::http::auth::Access;
use crate::http::guard::Guard;
use crate::http::{self, Api};
use crate::integrate;
use crate::metrics::Metrics;
use crate::private;
use crate::pty;
use crate::push::Push;
use crate::recorder::{Limits, Recorder};
use crate::registry::{Defaults, KillAll, Parts, Registry, ShutdownAll};
use crate::rights::{Grants, GrantsError};
use crate::screens::{self, Screens};
use crate::store::{self, StoreHandle};
use crate::tree;
use actix::prelude::*;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, web};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use slog::{Logger, crit, info, o, warn};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

/// The time that requests in flight and clients of ended sessions have once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The longest time for ending all sessions during which none ends: each has three seconds of grace,
/// all at once.
const END_ALL: Duration = Duration::from_secs(20);

/// Serves until SIGTERM or SIGINT, which leave the sessions running, or until SIGUSR2, which ends
/// them first.
///
/// # Errors
/// The reason why the server did not start.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    // Before any secret is read: no other process of this user can then look into this one's memory
    // or take its descriptors (a session's program could, otherwise), and no core is dumped. The
    // holder and all that it starts are as they were: execve(2) makes a process dumpable again.
    nix::sys::prctl::set_dumpable(false).map_err(io::Error::from)?;
    let (log, _guard) = crate::log::logger(settings.log_format, settings.log_level);
    end_loudly_on_panic(crate::log::unqueued(settings.log_format));
    for warning in &account().warnings {
        warn!(log, "a default of sessions cannot be used"; "why" => warning);
    }
    start(&settings, log).map_err(|error| or_no_room(error, &settings.state_dir))
}

fn start(settings: &Settings, log: Logger) -> Result<(), ServeError> {
    if settings.tls.is_none() && !settings.allow_plain {
        connections::check_plain(&settings.listen)?;
    }
    let tls = settings.tls.as_ref().map(Tls::load).transpose()?;
    private::claim(&settings.state_dir)?;
    let _lock = lock(&settings.state_dir)?;
    // Remove the address of a killed server: a command that finds the lock held would connect to
    // that address.
    let _ = fs::remove_file(settings.state_dir.join("listen"));
    let socket = settings.state_dir.join(local::SOCKET);
    let local = local::listen_in(&settings.state_dir)
        .map_err(|error| ServeError::State { path: socket.clone(), error })?;
    let served = listen(&settings.listen)
        .and_then(|listening| System::new().block_on(serve(settings, listening, tls, local, log)));
    // A command that looks for the server then finds that there is none.
    let _ = fs::remove_file(settings.state_dir.join("listen"));
    let _ = fs::remove_file(socket);
    served
}

async fn serve(
    settings: &Settings,
    Listening { listeners, absent, foreign }: Listening,
    tls: Option<Arc<Tls>>,
    local: UnixListener,
    log: Logger,
) -> Result<(), ServeError> {
    // Install the handlers before other processes can find us to send a signal. A script that
    // starts us in the background has SIGINT ignored, so that Ctrl-C ends only the script.
    let (mut terminate, mut interrupt, mut end_all) = (
        signal(SignalKind::terminate())?,
        if pty::is_ignored(libc::SIGINT) { None } else { Some(signal(SignalKind::interrupt())?) },
        signal(SignalKind::user_defined2())?,
    );
    let hangups = tls.as_ref().map(|_| signal(SignalKind::hangup())).transpose()?;
    let interrupted = async {
        match &mut interrupt {
            Some(interrupt) => interrupt.recv().await,
            None => std::future::pending().await,
        }
    };
    let dir = &settings.state_dir;
    // Read the boot id once and keep it: with another id, or none, sessions would be taken for
    // dead.
    tree::boot_id()?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    for other in foreign {
        warn!(log, "somebody else listens on the other loopback address of this port: the name \
            localhost is not accepted, ask for the address"; "address" => %other,
            "ask_for" => %addresses[0]);
    }
    if tls.is_none()
        && let Err(Exposed(address)) = connections::check_plain(&addresses)
    {
        warn!(log, "terminals can be reached over the network without TLS, as the settings allow: \
            everybody on the way can read and change what is shown and typed"; "address" => %address);
    }
    store::remove_leftovers(dir);
    let store = StoreHandle::open(&dir.join("stayd.db"), log.new(o!("part" => "store")))?;
    let audit = Audit::new(store.clone());
    let admin_token = settings.admin_token_file.as_deref().map(read_token).transpose()?;
    let grants = Grants::load(store.clone(), admin_token.as_deref());
    let grants =
        grants.await.map_err(|error| ServeError::Failed(admin_token_problem(settings, &error)))?;
    let grants = Arc::new(grants);
    let (services, contact) = (settings.push_services.clone(), settings.push_contact.clone());
    let push = Arc::new(Push::new(dir.clone(), services, contact));
    let (hosts, origins) = (&settings.allowed_hosts, &settings.allowed_origins);
    // Another server cannot listen on a loopback address that this machine does not have.
    let ours = [&addresses[..], &absent[..]].concat();
    let access = web::Data::new(
        Access::new(grants.clone(), &ours, hosts, origins)?
            .over_tls(settings.tls.is_some())
            .below(settings.base_path.clone())
            .audited(audit.clone()),
    );
    // Listen before the holder starts, because a holder would be left behind if this fails. Listen
    // before the actors are created, because an actor that is dropped before it has started arms
    // its timers without a runtime, and panics. Early clients wait in the backlog.
    let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    // Says the scheme where it is not plain HTTP.
    let scheme = if tls.is_some() { "https://" } else { "" };
    let places: Vec<String> = text.iter().map(|address| format!("{scheme}{address}")).collect();
    write_private(&dir.join("listen"), &places.join("\n"))?;
    let (holder, notices) =
        Holder::connect_or_launch(&Paths::new(dir), &log.new(o!("part" => "holder"))).await?;
    // Raise the limit: each session needs a descriptor, and its clients need more. The holder was
    // started with the limit that its sessions are to have.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If that fails, the limit stays as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let mut profiles = settings.profiles.clone();
    let without = integrate::prepare(dir, profiles.iter_mut())
        .map_err(|error| ServeError::State { path: dir.join("integrate"), error })?;
    for profile in without {
        warn!(log, "no shell integration for this profile: it is for bash, zsh and fish, and under \
            another account for bash only"; "profile" => profile);
    }
    let defaults = Defaults {
        profiles,
        agents: settings.agents.clone(),
        env: BTreeMap::from([("STAYD_STATE_DIR".to_owned(), dir.to_string_lossy().into_owned())]),
        idle_timeout_s: settings.idle_timeout_s,
        idle_when: settings.idle_when,
        max_sessions: settings.max_sessions,
        max_sessions_per_principal: settings.max_sessions_per_principal,
        max_upload_bytes: settings.max_upload_bytes,
        ring_bytes: settings.ring_bytes,
        idle_ring_bytes: settings.idle_ring_bytes,
        scrollback_lines: settings.scrollback_lines,
        quiet_s: settings.quiet_s,
        retention: settings.retention_s.map(Duration::from_secs),
    };
    let screens = Screens::start(&holder, log.new(o!("part" => "screens")))?;
    let (fatal, mut failed) = tokio::sync::mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::default());
    let limits = Limits {
        file_bytes: settings.recording_file_bytes,
        total_bytes: settings.recording_total_bytes,
    };
    let recorder = Recorder::start(
        dir.join("recordings"),
        limits,
        metrics.clone(),
        log.new(o!("part" => "recorder")),
    )?;
    let parts = Parts {
        store: store.clone(),
        holder: holder.clone(),
        screens: screens.clone(),
        recorder: recorder.clone(),
        metrics: metrics.clone(),
    };
    let shared = Arc::new(defaults.clone());
    let registry = Registry::new(parts, notices, defaults, fatal, log.clone());
    let (events, roster) = (registry.events(), registry.roster());
    let fleet_grants = grants.clone();
    let living = roster.clone();
    let hooks = HooksParts {
        store: store.clone(),
        events: events.clone(),
        roster: roster.clone(),
        grants,
        push: push.clone(),
        metrics: metrics.clone(),
        log: log.new(o!("part" => "hooks")),
    };
    let hooks = Hooks::start(settings.hooks.clone(), hooks).await;
    let registry = registry.start();
    let parts = FleetParts {
        state_dir: dir.clone(),
        max_sessions: settings.max_sessions,
        bus: events.clone(),
        roster: roster.clone(),
        store: store.clone(),
        grants: fleet_grants,
        log: log.new(o!("part" => "fleet")),
    };
    let mut member = match settings.fleet.clone() {
        Some(fleet) => Some(
            fleet::start(fleet, parts)
                .await
                .map_err(|error| ServeError::Failed(error.to_string()))?,
        ),
        None => None,
    };
    let relayed = member.as_mut().and_then(Started::listener);
    let parts_of_uploads = crate::files::Parts::new(&dir.join("parts"));
    let api = Api {
        registry: registry.clone(),
        push,
        roster,
        store: store.clone(),
        holder: holder.clone(),
        screens,
        recorder,
        metrics: metrics.clone(),
        events: events.clone(),
        copies: Arc::new(Semaphore::new(http::COPIES)),
        shots: Shots::default(),
        defaults: shared,
        create_on_attach: settings.create_on_attach,
        nesting: Arc::default(),
        finished: Arc::default(),
        parts: parts_of_uploads.clone(),
        turns: http::Turns::default(),
        audit: audit.clone(),
        fleet: member.as_ref().map(|member| member.fleet.clone()),
    };

    let limits = connections::Limits {
        connections: settings.max_connections,
        per_address: settings.max_connections_per_address,
        per_principal: settings.max_connections_per_principal,
        strangers: settings.max_connections_without_token,
        unread: Duration::from_secs(settings.unread_timeout_s),
    };
    let http_log = log.new(o!("part" => "http"));
    let kept = settings.audit_retention_s.map(Duration::from_secs);
    actix_web::rt::spawn(audit.keep(kept, http_log.clone()));
    actix_web::rt::spawn(parts_of_uploads.keep_removing(http_log.clone()));
    actix_web::rt::spawn(Access::report(access.clone(), http_log.clone()));
    let connections = Connections::new(limits, metrics, http_log.clone());
    let (leases, places) = (access.clone(), connections.clone());
    actix_web::rt::spawn(async move { leases.keep_checking_leases(&places).await });
    let (app_access, body_timeout) = (access.clone(), Duration::from_secs(settings.body_timeout_s));
    if let (Some(tls), Some(hangups)) = (&tls, hangups) {
        let log = log.new(o!("part" => "tls"));
        actix_web::rt::spawn(tls.clone().keep_up_to_date(log));
        actix_web::rt::spawn(reload_on_hangup(tls.clone(), hangups));
    }
    let (is_encrypted, is_member) = (tls.is_some(), member.is_some());
    let (base, has_base) = (settings.base_path.clone(), !settings.base_path.as_str().is_empty());
    let app = move || {
        let base = base.clone();
        App::new()
            .app_data(web::Data::new(api.clone()))
            .app_data(app_access.clone())
            .configure(http::configure)
            .wrap(Condition::new(is_member, from_fn(http::to_its_machine)))
            .wrap(Guard::new(app_access.clone(), body_timeout, http_log.clone()))
            .wrap(Condition::new(
                has_base,
                from_fn(move |request, next| http::below_base_path(base.clone(), request, next)),
            ))
            .wrap(Condition::new(is_encrypted, from_fn(http::strict_transport)))
    };
    let listeners = Listeners { tcp: listeners, tls, local, relayed };
    let serving = connections::serve(listeners, &connections, app)?;

    info!(log, "listening"; "addresses" => text.join(" "), "state_dir" => %dir.display(),
        "holder" => holder.pid());
    greet(&access);

    let mut sessions = "running on";
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupted => None,
        _ = end_all.recv() => {
            info!(log, "ending all sessions");
            // A session that cannot be ended is still marked as ending in its row, which the next
            // server reads.
            let mut ending = std::pin::pin!(registry.send(KillAll));
            let mut left = living.living();
            let ended = loop {
                if let Ok(ended) = tokio::time::timeout(END_ALL, &mut ending).await {
                    break ended.is_ok();
                }
                // Thousands take longer: it goes on as long as they become fewer.
                let now = living.living();
                if now >= left {
                    break false;
                }
                left = now;
            };
            sessions = if ended {
                "ended"
            } else {
                crit!(log, "not all sessions have ended, and none has for a while"; "left" => left,
                    "within_s" => END_ALL.as_secs());
                "not all ended"
            };
            None
        },
        why = failed.recv() => why,
    };
    info!(log, "stopping"; "because" => failure.as_deref().unwrap_or("a signal was received"));
    // Stop accepting, and close the clients (1001), which lets the connections end. Clients of
    // ended sessions may take the rest of the output and the exit until the grace is over. By then
    // the sessions' last changes are in the store's queue.
    let stopping = serving.stop(STOP_GRACE);
    let closing = async {
        let closed = registry.send(ShutdownAll).await;
        events.end();
        closed
    };
    let ((), closed) = tokio::join!(stopping, closing);
    if closed.is_err() {
        crit!(log, "the registry was gone at the stop");
    }
    if let Some(member) = member {
        member.leave().await;
    }
    hooks.stop().await;
    if let Err(error) = store.flush().await {
        crit!(log, "not everything could be written"; "error" => %error);
    }
    if let Some(why) = failure {
        return Err(ServeError::Failed(why));
    }
    info!(log, "stopped"; "sessions" => sessions);
    Ok(())
}

/// Reads the operator's own token.
fn read_token(path: &Path) -> Result<String, ServeError> {
    let state = |error| ServeError::State { path: path.to_owned(), error };
    // A pipe would have the start wait for a writer.
    if !fs::metadata(path).map_err(state)?.is_file() {
        return Err(state(io::Error::new(io::ErrorKind::InvalidInput, "expected a file")));
    }
    Ok(fs::read_to_string(path).map_err(state)?.trim().to_owned())
}

fn admin_token_problem(settings: &Settings, error: &GrantsError) -> String {
    match (error, &settings.admin_token_file) {
        (GrantsError::Invalid(rule), Some(path)) => format!("{} {rule}", path.display()),
        _ => error.to_string(),
    }
}

/// Shows a person at a terminal a link to the page, which logs in once. It is shown nowhere else;
/// browsers do not send what follows `#`.
#[allow(clippy::print_stdout)]
fn greet(access: &Access) {
    if !io::stdout().is_terminal() {
        return;
    }
    // Without randomness there is no link, and `stayd url` says so.
    if let Ok(link) = access.link() {
        println!("\n  stayd is at  {link}\n");
    }
}

/// SIGHUP reads the certificate again. Without TLS it ends the server, as it does by default.
async fn reload_on_hangup(tls: Arc<Tls>, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        tls.reload();
    }
}

/// Ends the server on a panic, which would otherwise silently take one thread and every session on
/// it along. Ending is loud, and cheap because the holder keeps the sessions. The log has no queue
/// here, because nobody would be left to write it.
fn end_loudly_on_panic(log: Logger) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if screens::contains_panics() {
            return;
        }
        crit!(log, "panic: ending the server, the sessions run on"; "panic" => %panic);
        std::process::abort();
    }));
}
