//! The directory as an edge knows it: the machines of the fleet and their sessions, as they last said.

use super::line::{self, Refusal};
use super::listed::{LineMark, Listed, Listings, Packed};
use super::record::NodeRecord;
use super::shown::{ShownNode, TOLD_MAX, Told, Wanted};
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::{Session, rfc3339};
use crate::relay::NodeName;
use crate::rights::{Principal, Role};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// A machine that has said nothing for so long is forgotten, with its sessions.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A machine whose record has not been put again for so long is offline. It is put every 3 s.
const OFFLINE_AFTER: Duration = Duration::from_secs(9);

/// How long after the last line the time goes on. This server's own line comes every 3 s, so that after this it
/// is this server that hears nothing, and nobody else is to be taken for gone.
const HEARS_FOR: Duration = Duration::from_secs(4);

/// The most sessions of one machine that are taken over: more than any machine can have.
const SESSIONS_MAX: usize = 50_000;

/// A machine puts the lines of all sessions that live once a minute, and then its record beside them. A line that
/// was put so many seconds earlier is of a session that the machine has no more, whose end was never told.
const STALE_AFTER: i64 = 90;

/// The directory tells of a new session within this time, if it is in order.
pub(super) const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Nobody waits longer for it.
const TOLD_SOON: Duration = Duration::from_secs(5);

/// The directory. Clones share it.
#[derive(Clone, Default)]
pub struct Directory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    /// Moves when a session is told.
    told: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    nodes: BTreeMap<NodeName, Node>,
    sessions: Listings,
    /// When anything was last heard.
    heard: Option<Heard>,
    /// When the list of sessions was read first.
    listed: Option<Instant>,
    /// Sessions that a second machine has said to have as well. Either may be the one that is wrong: which was told
    /// first says nothing once this server was started anew.
    disputed: HashSet<SessionId>,
    /// Sessions that this server has started elsewhere, until the directory tells of them.
    placed: HashMap<SessionId, (NodeName, Instant)>,
}

#[derive(Clone, Copy)]
struct Heard {
    at: Instant,
    time: DateTime<Utc>,
}

#[derive(Default)]
struct Node {
    record: Option<NodeRecord>,
    heard: Option<Heard>,
    /// It has said that it goes.
    is_gone: bool,
    /// Lines in which it said more than there can be.
    refused: u64,
    /// The last time that it had told of all of its sessions.
    told_all: Option<ToldAll>,
}

struct ToldAll {
    /// The time of its record beside the sessions, by the clock of NATS, in seconds since 1970.
    put_at: i64,
    /// The time at which this server read that record.
    read_at: Instant,
}

impl Directory {
    /// A machine's record was put. Returns its life, if it is another one than before.
    pub(super) fn node_says(&self, name: &NodeName, record: NodeRecord) -> Option<u64> {
        let mut known = self.lock();
        let heard = known.hears();
        let node = known.nodes.entry(name.clone()).or_default();
        let before = node.record.as_ref().map(|record| record.run);
        let run = record.run;
        (node.record, node.heard, node.is_gone) = (Some(record), Some(heard), false);
        (before != Some(run)).then_some(run)
    }

    /// A machine's record stands in the directory of sessions, where it stays when the machine is gone. It was put
    /// at this time, by the clock of NATS, in seconds since 1970, after all of its sessions.
    pub(super) fn node_said(&self, name: &NodeName, record: NodeRecord, put_at: i64) {
        let mut known = self.lock();
        let node = known.nodes.entry(name.clone()).or_default();
        node.record.get_or_insert(record);
        node.told_all = Some(ToldAll { put_at, read_at: Instant::now() });
    }

    /// A machine has said that it goes.
    pub(super) fn node_goes(&self, name: &NodeName) {
        if let Some(node) = self.lock().nodes.get_mut(name) {
            node.is_gone = true;
        }
    }

    /// A session's line was put, at this time, by the clock of NATS, in seconds since 1970. A machine's mistake
    /// must not come to a page, nor fill this server's memory.
    pub(super) fn session_says(
        &self,
        node: &NodeName,
        id: SessionId,
        line: &[u8],
        put_at: i64,
    ) -> Result<(), Refusal> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        line::check_length(line)?;
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        {
            let mut known = self.lock();
            match known.sessions.get(id) {
                Some(it) if it.node == *node && it.line.hash == hash => {
                    known.sessions.put_again(id, put_at);
                    return Ok(());
                }
                Some(it) if it.node == *node => {}
                Some(it) if !known.is_renamed(&it.node, node) => {
                    known.disputed.insert(id);
                    return Err(Refusal::Disputed);
                }
                Some(_) => {
                    known.disputed.remove(&id);
                }
                _ if known.sessions.count(node) >= SESSIONS_MAX => {
                    let why = format!("it tells of more than {SESSIONS_MAX} sessions");
                    return Err(Refusal::TooMuch(why));
                }
                _ => {}
            }
        }
        let session = line::read(node, id, line)?;
        let packed = Packed::of(&session);
        {
            let mut known = self.lock();
            if known.nodes.entry(node.clone()).or_default().is_stale(session.status, put_at) {
                return Err(Refusal::Ignored);
            }
            known.sessions.insert(node, &session, packed, LineMark { hash, put_at });
        }
        self.0.told.send_replace(());
        Ok(())
    }

    /// A machine has said more than there can be. Whether it is the first time.
    pub(super) fn refuses(&self, name: &NodeName) -> bool {
        let mut known = self.lock();
        let node = known.nodes.entry(name.clone()).or_default();
        node.refused += 1;
        node.refused == 1
    }

    /// A session's line was removed.
    pub(super) fn session_goes(&self, node: &NodeName, id: SessionId) {
        let mut known = self.lock();
        if known.sessions.get(id).is_some_and(|it| it.node == *node) {
            known.sessions.remove(id);
            known.disputed.remove(&id);
        }
    }

    /// A machine's session with this id, or its live one with this name, as it last said.
    #[must_use]
    pub fn find(&self, node: &NodeName, key: &str) -> Option<Session> {
        let packed = {
            let known = self.lock();
            let by_id = || known.sessions.get(key.parse().ok()?).filter(|it| it.node == *node);
            let is_named =
                |listed: &&Listed| listed.status.is_live() && listed.name.as_deref() == Some(key);
            let by_name = || {
                let mut of_node = known.sessions.newest(Some(node), None).map(|(_, listed)| listed);
                of_node.find(is_named)
            };
            by_id().or_else(by_name)?.packed.clone()
        };
        packed.session()
    }

    /// The same; a session that this server has placed a moment ago is waited for until it is told.
    pub async fn find_told(&self, node: &NodeName, key: &str) -> Option<Session> {
        let mut told = self.0.told.subscribe();
        let is_placed = |id| self.lock().placed.get(&id).is_some_and(|(at, _)| at == node);
        let waits = key.parse().is_ok_and(is_placed);
        let find = async {
            loop {
                let found = self.find(node, key);
                if found.is_some() || !waits || told.changed().await.is_err() {
                    return found;
                }
            }
        };
        timeout(TOLD_SOON, find).await.ok().flatten()
    }

    /// The most that anybody may do on a machine over the fleet, as far as it is known.
    #[must_use]
    pub fn most(&self, node: &NodeName) -> Role {
        let known = self.lock();
        let said = known.nodes.get(node).and_then(|node| Some(&node.record.as_ref()?.rights));
        let read = said.and_then(|role| serde_json::from_value(role.as_str().into()).ok());
        read.unwrap_or(Role::Viewer)
    }

    /// The whole list of sessions was read, with these. Others are gone where their machine has told all of
    /// its own; what others last said stays.
    pub(super) fn only_these(&self, there: &HashSet<SessionId>, whole: &HashSet<NodeName>) {
        let mut known = self.lock();
        known.listed.get_or_insert_with(Instant::now);
        let Known { nodes, sessions, .. } = &mut *known;
        sessions.keep(|id, it| {
            let node = nodes.get(&it.node);
            let is_stale = node.is_some_and(|node| node.is_stale(it.status, it.line.put_at));
            !is_stale && (there.contains(&id) || !whole.contains(&it.node))
        });
        let Some(now) = known.heard.map(|heard| heard.at) else { return };
        let is_old = |node: &Node| {
            let told_all = node.told_all.as_ref().map(|told| told.read_at);
            let last = node.heard.map(|heard| heard.at).max(told_all);
            last.is_some_and(|at| now.saturating_duration_since(at) > FORGET_AFTER)
        };
        let old: HashSet<NodeName> = known
            .nodes
            .iter()
            .filter(|(name, node)| is_old(node) && !whole.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        known.nodes.retain(|name, _| !old.contains(name));
        known.sessions.keep(|_, listed| !old.contains(&listed.node));
        let Known { sessions, disputed, .. } = &mut *known;
        disputed.retain(|id| sessions.get(*id).is_some());
    }

    /// Whether more than one machine has said that it has this session, so that its id does not say where it is.
    #[must_use]
    pub fn is_disputed(&self, id: SessionId) -> bool {
        self.lock().disputed.contains(&id)
    }

    /// Where a session is, if it is another machine's.
    #[must_use]
    pub fn locate(&self, id: SessionId, this: &NodeName) -> Option<NodeName> {
        let known = self.lock();
        let told = known.sessions.get(id).map(|it| it.node.clone());
        let placed = || known.placed.get(&id).map(|(node, _)| node.clone());
        told.or_else(placed).filter(|node| node != this)
    }

    /// This server has started a session on a machine, of which the directory tells in a moment.
    pub fn was_placed(&self, id: SessionId, node: &NodeName) {
        let mut known = self.lock();
        known.placed.retain(|_, (_, at)| at.elapsed() < TOLD_WITHIN);
        known.placed.insert(id, (node.clone(), Instant::now()));
    }

    /// Whether the list of sessions was read so long ago. A list that was read when NATS had just been started
    /// lacks what machines are about to tell again.
    #[must_use]
    pub fn is_listed_for(&self, time: Duration) -> bool {
        self.lock().listed.is_some_and(|listed| listed.elapsed() >= time)
    }

    /// Whether a machine is online; `None`: nobody knows it.
    #[must_use]
    pub fn is_online(&self, name: &NodeName) -> Option<bool> {
        let known = self.lock();
        let now = known.now();
        known.nodes.get(name).map(|node| node.is_online(now))
    }

    /// When a machine was last heard.
    #[must_use]
    pub fn heard_at(&self, name: &NodeName) -> Option<DateTime<Utc>> {
        Some(self.lock().nodes.get(name)?.heard?.time)
    }

    /// When anything was last heard.
    #[must_use]
    pub fn heard(&self) -> Option<DateTime<Utc>> {
        self.lock().heard.map(|heard| heard.time)
    }

    /// How long ago anything was last heard.
    #[must_use]
    pub fn heard_ago(&self) -> Option<Duration> {
        self.lock().heard.map(|heard| heard.at.elapsed())
    }

    /// The number of sessions that it tells of, those that have ended included.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lock().sessions.len()
    }

    /// All machines, by name.
    #[must_use]
    pub fn nodes(&self, this: &NodeName) -> Vec<ShownNode> {
        let known = self.lock();
        let now = known.now();
        let shown = |(name, node): (&NodeName, &Node)| {
            let record = node.record.as_ref();
            let is_online = node.is_online(now);
            let counted = known.sessions.live(name);
            ShownNode {
                name: name.to_string(),
                is_self: name == this,
                state: if is_online { "online" } else { "offline" },
                version: record.map(|record| record.version.clone()),
                labels: record.map(|record| record.labels.clone()).unwrap_or_default(),
                live_sessions: record.filter(|_| is_online).map_or(counted, |it| it.live_sessions),
                max_sessions: record.map(|record| record.max_sessions),
                load: record.filter(|_| is_online).and_then(|record| record.load),
                cores: record.map(|record| record.cores),
                since: record.map(|record| record.since.clone()),
                heard_at: node.heard.map(|heard| rfc3339(heard.time)),
                heard_ago: node.heard.map(|heard| heard.at.elapsed()),
                refused_lines: node.refused,
                gateway: record.is_some_and(|record| record.gateway),
                rights: record.map(|record| record.rights.clone()),
            }
        };
        known.nodes.iter().map(shown).collect()
    }

    /// Sessions of other machines that exist for a principal, newest first, as JSON.
    #[must_use]
    pub fn sessions(&self, wanted: &Wanted<'_>, principal: &Principal, this: &NodeName) -> Told {
        let (mut sessions, mut bytes) = (Vec::new(), 0);
        // A thousand of them take milliseconds to unpack, in which whoever is heard need not wait.
        for (id, packed) in self.packed(wanted, principal, this) {
            if bytes >= TOLD_MAX {
                return Told { sessions, is_cut: true };
            }
            if let Some(json) = packed.json() {
                bytes += json.len();
                sessions.push((id, json));
            }
        }
        Told { sessions, is_cut: false }
    }

    /// The same, as they are kept.
    fn packed(
        &self,
        wanted: &Wanted<'_>,
        principal: &Principal,
        this: &NodeName,
    ) -> Vec<(SessionId, Packed)> {
        let known = self.lock();
        let matches = |(id, listed): &(SessionId, &Listed)| {
            listed.node != *this
                && (wanted.ended || listed.status.is_live())
                && wanted.statuses.is_none_or(|statuses| statuses.contains(&listed.status))
                && wanted.name.is_none_or(|name| listed.name.as_deref() == Some(name))
                && wanted.label.is_none_or(|(key, value)| listed.has(key, value))
                && principal.sees(listed.facts(*id))
        };
        let newest = known.sessions.newest(wanted.node, wanted.before).filter(matches);
        newest.take(wanted.most).map(|(id, it)| (id, it.packed.clone())).collect()
    }

    /// The machines on which a session may be placed, those with the fewest first.
    #[must_use]
    pub fn places(&self, labels: &BTreeMap<String, String>) -> Vec<(NodeName, usize)> {
        let known = self.lock();
        let now = known.now();
        let fits = |node: &Node| {
            let record = node.record.as_ref().filter(|_| node.is_online(now))?;
            let has = labels.iter().all(|(key, value)| record.labels.get(key) == Some(value));
            let is_place = has
                && !record.gateway
                && record.rights != "viewer"
                && record.live_sessions < record.max_sessions;
            is_place.then_some(record.live_sessions)
        };
        let all = known.nodes.iter().filter_map(|(name, node)| Some((name.clone(), fits(node)?)));
        let all: BTreeSet<(usize, NodeName)> = all.map(|(name, count)| (count, name)).collect();
        all.into_iter().map(|(count, name)| (name, count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn hears(&mut self) -> Heard {
        let heard = Heard { at: Instant::now(), time: Utc::now() };
        self.heard = Some(heard);
        heard
    }

    /// The time that the last words of machines are compared with.
    fn now(&self) -> Option<Instant> {
        self.heard.map(|heard| heard.at + heard.at.elapsed().min(HEARS_FOR))
    }

    /// Whether a machine that was called `before` is called `now`. An id is one machine's, and nobody else says
    /// what its instance is.
    fn is_renamed(&self, before: &NodeName, now: &NodeName) -> bool {
        let instance = |name| self.nodes.get(name)?.record.as_ref().map(|record| record.instance);
        !self.is_online(before) && instance(before).is_some_and(|it| instance(now) == Some(it))
    }

    fn is_online(&self, name: &NodeName) -> bool {
        let now = self.now();
        self.nodes.get(name).is_some_and(|node| node.is_online(now))
    }
}

impl Node {
    /// Whether the line of a live session, put at this time, is older than a complete telling of the machine, so that
    /// the machine has this session no more.
    fn is_stale(&self, status: Status, put_at: i64) -> bool {
        let told_all = self.told_all.as_ref();
        status.is_live() && told_all.is_some_and(|told| told.put_at - put_at > STALE_AFTER)
    }

    /// Soon after anybody was heard last, time stands still: while nothing is heard, nobody goes offline.
    fn is_online(&self, now: Option<Instant>) -> bool {
        let (Some(heard), Some(now)) = (self.heard, now) else { return false };
        !self.is_gone && now.saturating_duration_since(heard.at) < OFFLINE_AFTER
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
