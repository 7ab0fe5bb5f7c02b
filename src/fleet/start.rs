//! Starts this machine's part in the fleet, on a thread of its own.

use super::bucket::{NODES, SESSIONS};
use super::connect::{ConnectError, connect, connect_once};
use super::directory::Directory;
use super::handle::Fleet;
use super::heart::{Heart, Standing, leave};
use super::opening;
use super::record::{NodeRecord, most};
use super::teller::Teller;
use super::watcher::Watcher;
use crate::config::FleetSettings;
use crate::connections::{Relayed, RelayedListener};
use crate::events::Bus;
use crate::registry::Roster;
use crate::relay::{Arrival, Connect, Identity, Lanes, RelayCounters};
use crate::rights::{Grants, Role};
use crate::store::StoreHandle;
use actix::Arbiter;
use async_nats::Client;
use async_nats::jetstream::{self, context::Context};
use slog::{Logger, warn};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

/// Streams that may wait to be served.
const WAITING: usize = 256;
/// The file of the state directory that tells it from others.
const INSTANCE: &str = "fleet-instance";
/// The deadline of each of the two last steps: to tell the ends of sessions, and to take this machine's line out.
const LEAVE: Duration = Duration::from_secs(2);

/// What the fleet needs of the server.
pub struct FleetParts {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The most live sessions.
    pub max_sessions: usize,
    /// What happens to sessions.
    pub bus: Bus,
    /// The live ones.
    pub roster: Roster,
    /// The ended ones.
    pub store: StoreHandle,
    /// Who may do what.
    pub grants: Arc<Grants>,
    /// The log.
    pub log: Logger,
}

/// What has been started.
pub struct Started {
    /// For the routes.
    pub fleet: Fleet,
    listener: Option<RelayedListener>,
    thread: Arbiter,
    context: Context,
    /// Resolves once the last changes of sessions have been told, after the events have ended.
    all_told: oneshot::Receiver<()>,
}

impl Started {
    /// The streams that come in, once.
    pub fn listener(&mut self) -> Option<RelayedListener> {
        self.listener.take()
    }

    /// Tells how sessions have ended, and that this machine goes. The events must have come to their end.
    pub async fn leave(self) {
        if self.fleet.is_connected() {
            let _ = timeout(LEAVE, self.all_told).await;
            let _ = timeout(LEAVE, leave(&self.context, self.fleet.name())).await;
        }
        self.thread.stop();
    }
}

/// Starts it. The connection stands when it stands; nothing waits for it.
///
/// # Errors
/// The settings cannot be used.
pub async fn start(settings: FleetSettings, parts: FleetParts) -> Result<Started, ConnectError> {
    let mut run = [0; 8];
    getrandom::fill(&mut run).map_err(|error| ConnectError::State(error.to_string()))?;
    let run = u64::from_be_bytes(run);
    let instance =
        instance(&parts.state_dir).map_err(|error| ConnectError::State(error.to_string()))?;
    let record = NodeRecord::of(&settings, parts.max_sessions, (instance, run));
    let thread = Arbiter::new();
    let (times, connected) = watch::channel(0);
    let (standing, stands) = watch::channel(Standing::default());
    let (set_lanes, lanes) = watch::channel(None);
    let (serve, streams) = mpsc::channel(WAITING);
    let (directory, counters) = (Directory::default(), Arc::<RelayCounters>::default());
    let (tell, told) = oneshot::channel();
    let (tell_all, all_told) = oneshot::channel();
    let (wanted, log) = (settings.clone(), parts.log.clone());
    let (known, has_lanes, counts) = (directory.clone(), lanes.clone(), counters.clone());
    let is_member = stands.clone();
    let task = move || async move {
        let client = match connect(&wanted, Arc::new(times), log.clone()).await {
            Ok(client) => client,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let context = jetstream::new(client.clone());
        let _ = tell.send(Ok(context.clone()));
        let heart = Heart {
            context: context.clone(),
            name: wanted.name.clone(),
            record: record.clone(),
            roster: parts.roster.clone(),
            makes_buckets: wanted.serve_page,
            standing,
            log: log.clone(),
        };
        actix::spawn(heart.beat(connected.clone()));
        let teller = Teller {
            context: context.clone(),
            name: wanted.name.clone(),
            record,
            bus: parts.bus,
            roster: parts.roster,
            store: parts.store,
        };
        let telling = teller.keep_telling(is_member.clone(), connected.clone());
        actix::spawn(async move {
            telling.await;
            let _ = tell_all.send(());
        });
        if wanted.serve_page {
            let grants = parts.grants.clone();
            let log = log.clone();
            let watcher = Watcher { context, directory: known, lanes: has_lanes, grants, log };
            actix::spawn(watcher.clone().keep_watching(NODES, connected.clone()));
            actix::spawn(watcher.keep_watching(SESSIONS, connected));
        }
        let (settings, grants, counters) = (wanted, parts.grants, counts);
        let member = Member { settings, run, client, grants, serve, counters, log };
        member.keep_serving(is_member, set_lanes).await;
    };
    // The future is made on its thread, since it cannot be sent to another one.
    thread.spawn_fn(move || {
        actix::spawn(task());
    });
    let context =
        told.await.unwrap_or_else(|_| Err(ConnectError::State("its thread has ended".into())))?;
    let fleet = Fleet::new(settings, directory, (lanes, stands), context.clone(), counters);
    let listener = Some(RelayedListener { thread: thread.handle(), streams });
    Ok(Started { fleet, listener, thread, context, all_told })
}

/// This machine as a member: takes streams while it has its name.
struct Member {
    settings: FleetSettings,
    run: u64,
    client: Client,
    grants: Arc<Grants>,
    serve: mpsc::Sender<Relayed>,
    counters: Arc<RelayCounters>,
    log: Logger,
}

impl Member {
    async fn keep_serving(
        self,
        mut standing: watch::Receiver<Standing>,
        lanes: watch::Sender<Option<Arc<Lanes>>>,
    ) {
        let is_member = |standing: &Standing| *standing == Standing::Member;
        while standing.wait_for(is_member).await.is_ok() {
            let (name, opens) = (self.settings.name.clone(), self.settings.serve_page);
            let me = Identity { name, run: self.run, counters: self.counters.clone() };
            let connect = connect_more(self.settings.clone(), self.log.clone());
            let started = Lanes::start(me, self.client.clone(), opens, connect).await;
            let (started, mut arrivals) = match started {
                Ok(started) => started,
                Err(error) => {
                    warn!(self.log, "this machine cannot listen to its fleet"; "error" => %error);
                    return;
                }
            };
            lanes.send_replace(Some(started.clone()));
            let most = most(self.settings.rights);
            loop {
                tokio::select! {
                    arrival = arrivals.recv() => match arrival {
                        Some(arrival) => self.take(arrival, most).await,
                        None => return,
                    },
                    lost = standing.wait_for(|standing| *standing == Standing::Refused) => {
                        let is_over = lost.is_err();
                        drop(lost);
                        lanes.send_replace(None);
                        started.stop();
                        if is_over {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Hands a stream to the server. What is no stream of an edge is closed.
    async fn take(&self, arrival: Arrival, most: Role) {
        let Arrival { stream, edge, opening } = arrival;
        let Some((principal, address)) = opening::hear(&opening, most) else {
            warn!(self.log, "a stream of the fleet was opened for nobody"; "edge" => %edge);
            return;
        };
        let visit = self.grants.visit(principal, stream.revoked());
        let _ = self.serve.send(Relayed { stream, visit, address }).await;
    }
}

/// Connects further threads as the first one is connected.
fn connect_more(settings: FleetSettings, log: Logger) -> Connect {
    Box::new(move || {
        let (settings, log) = (settings.clone(), log.clone());
        Box::pin(async move {
            let connected = connect_once(&settings, log.clone()).await;
            connected
                .inspect_err(|error| {
                    warn!(log, "a thread has no connection of its own to the fleet's NATS";
                          "error" => %error, "what_follows" => "it shares the first one's");
                })
                .ok()
        })
    })
}

/// What tells this state directory from others, if it has been in a fleet.
pub(super) fn known_instance(state_dir: &Path) -> Option<Uuid> {
    std::fs::read_to_string(state_dir.join(INSTANCE)).ok()?.trim().parse().ok()
}

/// The same, also in the next life of its server.
fn instance(state_dir: &Path) -> io::Result<Uuid> {
    if let Some(known) = known_instance(state_dir) {
        return Ok(known);
    }
    let path = state_dir.join(INSTANCE);
    let new = Uuid::now_v7();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(new.to_string().as_bytes())?;
    Ok(new)
}
