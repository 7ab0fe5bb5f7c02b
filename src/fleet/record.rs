//! What a machine says of itself in the directory.

use crate::config::{FleetRights, FleetSettings};
use crate::protocol::rfc3339;
use crate::rights::Role;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::thread::available_parallelism;
use uuid::Uuid;

/// A machine's record, which it puts again every few seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// The state directory: another one under the same name is another machine.
    pub instance: Uuid,
    /// This life of its server.
    pub run: u64,
    /// The version of stayd.
    pub version: String,
    /// What sessions are placed by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Sessions that have not ended.
    pub live_sessions: usize,
    /// The most that there may be.
    pub max_sessions: usize,
    /// The load of the last minute, as the system counts it.
    pub load: Option<f64>,
    /// Processors.
    pub cores: usize,
    /// When its server was started, RFC 3339.
    pub since: String,
    /// Whether it has no sessions of its own.
    #[serde(default)]
    pub gateway: bool,
    /// The most that comes in over the fleet may do there.
    pub rights: String,
}

impl NodeRecord {
    /// The record of this server.
    pub(super) fn of(settings: &FleetSettings, max_sessions: usize, me: (Uuid, u64)) -> NodeRecord {
        let now: DateTime<Utc> = Utc::now();
        NodeRecord {
            name: settings.name.to_string(),
            instance: me.0,
            run: me.1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: settings.labels.clone(),
            live_sessions: 0,
            max_sessions: if settings.gateway { 0 } else { max_sessions },
            load: None,
            cores: available_parallelism().map_or(1, Into::into),
            since: rfc3339(now),
            gateway: settings.gateway,
            rights: most(settings.rights).as_str().to_owned(),
        }
    }

    /// A machine with room for sessions, for tests.
    #[cfg(test)]
    pub(super) fn sample(name: &str) -> NodeRecord {
        NodeRecord {
            name: name.into(),
            instance: Uuid::now_v7(),
            run: 1,
            version: "1".into(),
            labels: BTreeMap::new(),
            live_sessions: 0,
            max_sessions: 10,
            load: None,
            cores: 1,
            since: String::new(),
            gateway: false,
            rights: "controller".into(),
        }
    }

    /// As JSON, with what changes.
    pub(super) fn text(&mut self, live_sessions: usize) -> Vec<u8> {
        self.live_sessions = live_sessions;
        self.load = load();
        // Strings and numbers cannot fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The least role that may not be exceeded.
pub(super) fn most(rights: FleetRights) -> Role {
    match rights {
        FleetRights::Viewer => Role::Viewer,
        FleetRights::Controller => Role::Controller,
        FleetRights::Admin => Role::Admin,
    }
}

/// The system's load of the last minute (proc_loadavg(5)).
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
