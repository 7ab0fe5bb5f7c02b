//! What the server tells of the machines that it knows.

use super::client::{Client, Of};
use super::failure::Failure;
use super::key::Listed;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than this nobody waits for a word on the fleet who has asked for something else.
const ASIDE: Duration = Duration::from_secs(2);

/// The answer of `GET /api/v1/nodes`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fleet {
    /// The name of the server that was asked; `None` where it is in no fleet.
    #[serde(rename = "self")]
    pub(super) own: Option<String>,
    /// Whether it answers for other machines, of which it knows none otherwise; an older server does not say.
    pub(super) serves: Option<bool>,
    /// Whether it has a part in the fleet now.
    pub(super) connected: bool,
    /// The reason for which it has none; an older server does not say.
    pub(super) disconnected_because: Option<String>,
    /// When it has last heard the directory.
    pub(super) heard_at: Option<DateTime<Utc>>,
    pub(super) nodes: Vec<Node>,
}

/// A machine of the fleet. Of one that is offline less may be known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) name: String,
    /// It is the server that was asked.
    #[serde(rename = "self")]
    pub(super) is_self: bool,
    pub(super) state: String,
    pub(super) version: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) live_sessions: Option<u64>,
    pub(super) max_sessions: Option<u64>,
    /// The load of one minute.
    pub(super) load: Option<f64>,
    pub(super) cores: Option<u64>,
    pub(super) heard_at: Option<DateTime<Utc>>,
    /// It has no sessions of its own.
    pub(super) gateway: bool,
}

impl Fleet {
    /// The machines that are not heard.
    pub(super) fn offline(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.is_online())
    }

    /// Whether the server offers its own sessions alone, and knows no other machines.
    pub(super) fn is_plain(&self) -> bool {
        self.serves == Some(false)
    }
}

impl Node {
    pub(super) fn is_online(&self) -> bool {
        self.state == "online"
    }
}

/// The fleet of the server; `None` if it is in none, is older, or does not tell this caller.
///
/// # Errors
/// The server does not answer.
pub(super) async fn of(client: &Client) -> Result<Option<Fleet>, Failure> {
    match client.get_at("/api/v1/nodes").await {
        Ok(answer) => Ok(answer.json::<Fleet>().ok().filter(|fleet| fleet.own.is_some())),
        Err(failure) if failure.is_passing() => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Sessions of several machines, and which of them were not asked.
pub(super) struct Sessions {
    pub(super) sessions: Vec<Listed>,
    /// Each with the reason.
    pub(super) missing: Vec<String>,
}

/// The word for all machines.
pub(super) const ALL: &str = "all";

/// The sessions of the server itself, of a machine, or of all that can be asked, as each says itself.
///
/// # Errors
/// The one that is named cannot be asked.
pub(super) async fn sessions(
    client: &Client,
    node: Option<&str>,
    ended: bool,
) -> Result<Sessions, Failure> {
    if node != Some(ALL) {
        let sessions = client.listed(node.map_or(Of::Server, Of::Node), ended).await?;
        return Ok(Sessions { sessions, missing: Vec::new() });
    }
    let Some(fleet) = of(client).await? else {
        let how = "the server is in no fleet, or does not tell of it: leave --node out";
        return Err(Failure::Other(how.into()));
    };
    let (mut sessions, mut missing) = (client.listed(Of::Server, ended).await?, Vec::new());
    for Node { name, .. } in fleet.nodes.iter().filter(|node| !node.is_self) {
        match client.listed(Of::Node(name), ended).await {
            Ok(there) => sessions.extend(there),
            Err(failure) => missing.push(format!("{name}: {failure}")),
        }
    }
    Ok(Sessions { sessions, missing })
}

/// The machine, unless it is that of the server itself, which needs not be named.
pub(super) async fn elsewhere(client: &Client, node: Option<String>) -> Option<String> {
    let node = node?;
    let own = timeout(ASIDE, of(client)).await.ok()?.ok()??.own;
    (own.as_ref() != Some(&node)).then_some(node)
}
