//! Questions of routes to the directory, and its answers.

use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::relay::NodeName;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A machine, as `GET /api/v1/nodes` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ShownNode {
    /// Its name.
    pub name: String,
    /// Whether it is this server's.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// `online` or `offline`.
    pub state: &'static str,
    /// The version of stayd; null: not known.
    pub version: Option<String>,
    /// Labels, by which sessions are placed.
    pub labels: BTreeMap<String, String>,
    /// Sessions that have not ended.
    pub live_sessions: usize,
    /// The most that there may be.
    pub max_sessions: Option<usize>,
    /// The load of the last minute.
    pub load: Option<f64>,
    /// Processors.
    pub cores: Option<usize>,
    /// When its server was started.
    pub since: Option<String>,
    /// When it was last heard.
    pub heard_at: Option<String>,
    /// How long ago that was.
    #[serde(skip)]
    pub heard_ago: Option<Duration>,
    /// Lines in which it said more than there can be.
    #[serde(skip)]
    pub refused_lines: u64,
    /// Whether it has no sessions of its own.
    pub gateway: bool,
    /// The most that comes in over the fleet may do there.
    pub rights: Option<String>,
}

/// The most that is told of sessions at a time, in bytes: a thousand of the usual length have some 2 MB. Of those
/// that have long commands, fewer are told, and who asks goes on behind the last one.
pub(super) const TOLD_MAX: usize = 8 << 20;

/// Sessions of other machines, newest first.
pub struct Told {
    /// Each with its JSON.
    pub sessions: Vec<(SessionId, Box<str>)>,
    /// Whether there are more that were asked for, and would be too much at once.
    pub is_cut: bool,
}

/// Which sessions of the directory are asked for.
pub struct Wanted<'a> {
    /// Of this machine alone.
    pub node: Option<&'a NodeName>,
    /// With one of these.
    pub statuses: Option<&'a [Status]>,
    /// Also those that have ended.
    pub ended: bool,
    /// With this name.
    pub name: Option<&'a str>,
    /// With this label.
    pub label: Option<&'a (String, String)>,
    /// Older than this one.
    pub before: Option<SessionId>,
    /// So many.
    pub most: usize,
}
