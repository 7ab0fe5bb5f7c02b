//! [`Fleet`]: what routes ask of the fleet.

use super::bucket::{ANSWER, PLACEMENTS, PutError, line, put};
use super::directory::Directory;
use super::heart::Standing;
use super::opening;
use crate::config::FleetSettings;
use crate::protocol::span;
use crate::relay::{Lanes, NodeName, OpenError, RelayCounters, RelayStream};
use crate::rights::{Digest, Principal};
use async_nats::connection::State as Connection;
use async_nats::jetstream::context::Context;
use chrono::Utc;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a placement counts that the machine's own record may not have yet.
const PLACED: Duration = Duration::from_secs(5);

/// The fleet. Clones share it.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    settings: FleetSettings,
    directory: Directory,
    lanes: watch::Receiver<Option<Arc<Lanes>>>,
    context: Context,
    standing: watch::Receiver<Standing>,
    counters: Arc<RelayCounters>,
    placed: Mutex<HashMap<NodeName, Vec<Instant>>>,
}

/// The reason for which this server has no part in its fleet at present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// It hears nothing.
    #[error("the server has no connection to the fleet's NATS")]
    Unconnected,
    /// Another machine has its name.
    #[error(
        "another machine of the fleet has the name {0}: give this one another (fleet.name, --fleet-name), or \
         end the other"
    )]
    NameTaken(NodeName),
    /// It could not be told to the directory.
    #[error(
        "this machine is not in the directory of the fleet yet: where that lasts, `stayd doctor` says why"
    )]
    Untold,
}

/// Why a machine is not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reach {
    /// No machine is called so.
    #[error("no machine of the fleet is called \"{0}\": `stayd nodes` lists those that there are")]
    Unknown(String),
    /// It is not there now.
    #[error("{node} is offline; it was last heard {heard}")]
    Offline {
        /// Its name.
        node: NodeName,
        /// When, for people.
        heard: String,
    },
    /// This server has no part in the fleet.
    #[error("{node} is not reached: {why}")]
    Absent {
        /// Its name.
        node: NodeName,
        /// The reason.
        why: Absence,
    },
    /// It was not reached.
    #[error("{node} is not reached: {why}")]
    Failed {
        /// Its name.
        node: NodeName,
        /// The reason.
        why: OpenError,
    },
}

/// Why there is no place for a session.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// This server has no part in the fleet.
    #[error("no machine of the fleet is reached: {0}")]
    Absent(#[from] Absence),
    /// No machine takes a session.
    #[error(
        "no machine of the fleet that is online lets sessions be started over the fleet and has room: `stayd \
         nodes` shows them"
    )]
    NoRoom,
    /// None with these labels does.
    #[error(
        "no machine of the fleet that is online, lets sessions be started over the fleet and has room has \
         these labels: {0}"
    )]
    Nowhere(String),
    /// The directory cannot say where it was placed before.
    #[error("where this session was placed before cannot be read now ({0}); try again in a moment")]
    Unknown(String),
}

impl Fleet {
    pub(super) fn new(
        settings: FleetSettings,
        directory: Directory,
        (lanes, standing): (watch::Receiver<Option<Arc<Lanes>>>, watch::Receiver<Standing>),
        context: Context,
        counters: Arc<RelayCounters>,
    ) -> Fleet {
        let placed = Mutex::default();
        Fleet(Arc::new(Inner { settings, directory, lanes, context, standing, counters, placed }))
    }

    /// This machine's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.0.settings.name
    }

    /// Whether this server answers for other machines.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.0.settings.serve_page
    }

    /// Whether it has no sessions of its own.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.0.settings.gateway
    }

    /// What is known of the others.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Whether this server is connected, and has its name.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.absence().is_none()
    }

    /// The reason for which this server has no part in the fleet now; `None`: it has one.
    #[must_use]
    pub fn absence(&self) -> Option<Absence> {
        if self.0.context.client().connection_state() != Connection::Connected {
            return Some(Absence::Unconnected);
        }
        match *self.0.standing.borrow() {
            Standing::Member => None,
            Standing::Refused => Some(Absence::NameTaken(self.name().clone())),
            Standing::Unknown => Some(Absence::Untold),
        }
    }

    /// Times that the connection to NATS stood again after it was lost.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        let statistics = self.0.context.client().statistics();
        statistics.connects.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Streams to and from other machines that are open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.lanes().map_or(0, |lanes| lanes.streams())
    }

    /// The counters of these streams.
    #[must_use]
    pub fn counters(&self) -> &RelayCounters {
        &self.0.counters
    }

    fn lanes(&self) -> Option<Arc<Lanes>> {
        self.0.lanes.borrow().clone()
    }

    /// Whether a machine can be asked, as far as is known.
    ///
    /// # Errors
    /// The machine is not known or offline, or this server is not connected.
    pub fn check_reach(&self, node: &NodeName) -> Result<(), Reach> {
        self.lanes_to(node).map(drop)
    }

    fn lanes_to(&self, node: &NodeName) -> Result<Arc<Lanes>, Reach> {
        let lanes = self.lanes().ok_or_else(|| match self.absence() {
            Some(why) => Reach::Absent { node: node.clone(), why },
            None => Reach::Failed { node: node.clone(), why: OpenError::Disconnected },
        })?;
        match self.directory().is_online(node) {
            None => Err(Reach::Unknown(node.to_string())),
            Some(false) if lanes.is_connected() => {
                let heard = self
                    .directory()
                    .heard_at(node)
                    .map(|at| format!("{} ago", span(Utc::now() - at)));
                let heard = heard.unwrap_or_else(|| "before this server was started".into());
                Err(Reach::Offline { node: node.clone(), heard })
            }
            Some(_) => Ok(lanes),
        }
    }

    /// Opens a stream to a machine, for a principal whose client is at this address.
    ///
    /// # Errors
    /// The machine is not known, is offline, or does not answer.
    pub async fn open(
        &self,
        node: &NodeName,
        principal: &Principal,
        address: Option<IpAddr>,
    ) -> Result<RelayStream, Reach> {
        let failed = |why| Reach::Failed { node: node.clone(), why };
        let lanes = self.lanes_to(node)?;
        lanes.open(node, opening::say(principal, address)).await.map_err(failed)
    }

    /// The machine for a new session: the one with the fewest among those that have these labels. With the
    /// key of a request that may be repeated, it is the one that was chosen before, whichever server is asked.
    ///
    /// # Errors
    /// No machine fits, or the choice cannot be kept.
    pub async fn place(
        &self,
        labels: &BTreeMap<String, String>,
        key: Option<&str>,
    ) -> Result<NodeName, PlaceError> {
        let chosen = self.choose(labels);
        let Some(key) = key else { return chosen };
        let subject = line(PLACEMENTS, &Digest::of(key).id().to_string());
        if let Ok(node) = &chosen {
            let value = node.as_str().to_owned().into();
            match put(&self.0.context, subject.clone(), value, Some(0)).await {
                Ok(_) => return chosen,
                Err(PutError::Conflict) => {}
                Err(error) => return Err(PlaceError::Unknown(error.to_string())),
            }
        }
        let before = timeout(ANSWER, async {
            let stream =
                self.0.context.get_stream_no_info(format!("KV_{PLACEMENTS}")).await.ok()?;
            let line = stream.direct_get_last_for_subject(subject).await.ok()?;
            NodeName::new(std::str::from_utf8(&line.payload).ok()?).ok()
        });
        match (before.await, chosen) {
            (Ok(Some(node)), _) => Ok(node),
            (_, Err(nowhere)) => Err(nowhere),
            _ => Err(PlaceError::Unknown("the directory did not answer".into())),
        }
    }

    fn choose(&self, labels: &BTreeMap<String, String>) -> Result<NodeName, PlaceError> {
        if let Some(absence) = self.absence() {
            return Err(absence.into());
        }
        let mut placed = self.0.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.retain(|_, times| {
            times.retain(|time| time.elapsed() < PLACED);
            !times.is_empty()
        });
        let places = self.directory().places(labels).into_iter();
        // A machine says what it likes of its number.
        let count = |node: &NodeName, live: usize| {
            live.saturating_add(placed.get(node).map_or(0, Vec::len))
        };
        let counted = places.map(|(node, live)| (count(&node, live), node));
        let (_, node) = counted.min().ok_or_else(|| {
            let words = labels.iter().map(|(key, value)| format!("{key}={value}"));
            match labels.is_empty() {
                true => PlaceError::NoRoom,
                false => PlaceError::Nowhere(words.collect::<Vec<_>>().join(", ")),
            }
        })?;
        placed.entry(node.clone()).or_default().push(Instant::now());
        Ok(node)
    }
}
