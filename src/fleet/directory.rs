//! The directory as an edge knows it: the machines of the fleet and their sessions, as they last said.

use super::listed::{Listed, Listings, Packed};
use super::record::NodeRecord;
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::{Session, rfc3339};
use crate::relay::NodeName;
use crate::rights::{Principal, Role};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// A machine that has said nothing for so long is forgotten, with its sessions.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A machine whose record has not been put again for so long is offline. It is put every 3 s.
const OFFLINE_AFTER: Duration = Duration::from_secs(9);

/// How long after the last line the time goes on. This server's own line comes every 3 s, so that after this it
/// is this server that hears nothing, and nobody else is to be taken for gone.
const HEARS_FOR: Duration = Duration::from_secs(4);

/// The most sessions of one machine that are taken over: more than any machine can have.
const SESSIONS_MAX: usize = 50_000;

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
}

/// What a line of the directory has beside the session's JSON.
#[derive(Default, Deserialize, Serialize)]
struct Beside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_token: Option<Uuid>,
}

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
    /// What sessions are placed by.
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
    /// Whether it has no sessions of its own.
    pub gateway: bool,
    /// The most that comes in over the fleet may do there.
    pub rights: Option<String>,
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

/// The line of a session of this machine.
pub(super) fn line_of(session: &Session, node: &NodeName) -> Vec<u8> {
    let mut value = serde_json::to_value(session).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("node".into(), node.as_str().into());
        if let Some(token) = session.owner_token {
            object.insert("owner_token".into(), token.to_string().into());
        }
    }
    value.to_string().into_bytes()
}

impl Directory {
    /// A machine's record was put. Returns its life, if it is another one than before.
    pub(super) fn node_says(&self, name: &NodeName, record: NodeRecord) -> Option<u64> {
        let mut known = self.lock();
        let heard = known.hears();
        let node = known.nodes.entry(name.clone()).or_default();
        let before = node.record.as_ref().map(|record| record.run);
        let run = record.run;
        *node = Node { record: Some(record), heard: Some(heard), is_gone: false };
        (before != Some(run)).then_some(run)
    }

    /// A machine's record stands in the directory of sessions, where it stays when the machine is gone.
    pub(super) fn node_said(&self, name: &NodeName, record: NodeRecord) {
        self.lock().nodes.entry(name.clone()).or_default().record.get_or_insert(record);
    }

    /// A machine has said that it goes.
    pub(super) fn node_goes(&self, name: &NodeName) {
        if let Some(node) = self.lock().nodes.get_mut(name) {
            node.is_gone = true;
        }
    }

    /// A session's line was put. Whether it is one: a machine's mistake must not come to a page.
    pub(super) fn session_says(&self, node: &NodeName, id: SessionId, line: &[u8]) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        {
            let mut known = self.lock();
            match known.sessions.get(id) {
                Some(it) if it.node == *node && it.hash == hash => return true,
                Some(it) if it.node == *node => {}
                Some(it) if !known.is_renamed(&it.node, node) => {
                    known.disputed.insert(id);
                    return false;
                }
                Some(_) => {
                    known.disputed.remove(&id);
                }
                _ if known.sessions.count(node) >= SESSIONS_MAX => return false,
                _ => {}
            }
        }
        let Ok(mut session) = serde_json::from_slice::<Session>(line) else { return false };
        if session.id != id {
            return false;
        }
        let Beside { owner_token } = serde_json::from_slice(line).unwrap_or_default();
        (session.node, session.owner_token) = (Some(node.to_string()), owner_token);
        let packed = Packed::of(&session);
        {
            let mut known = self.lock();
            known.nodes.entry(node.clone()).or_default();
            known.sessions.insert(node, &session, packed, hash);
        }
        self.0.told.send_replace(());
        true
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
        known.sessions.keep(|id, it| there.contains(&id) || !whole.contains(&it.node));
        let Some(now) = known.heard.map(|heard| heard.at) else { return };
        let is_old = |node: &Node| node.heard.is_some_and(|it| now - it.at > FORGET_AFTER);
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
                gateway: record.is_some_and(|record| record.gateway),
                rights: record.map(|record| record.rights.clone()),
            }
        };
        known.nodes.iter().map(shown).collect()
    }

    /// Sessions of other machines that exist for a principal, newest first, as JSON.
    #[must_use]
    pub fn sessions(
        &self,
        wanted: &Wanted<'_>,
        principal: &Principal,
        this: &NodeName,
    ) -> Vec<(SessionId, Box<str>)> {
        // A thousand of them take milliseconds to unpack, in which whoever is heard need not wait.
        let packed = self.packed(wanted, principal, this).into_iter();
        packed.filter_map(|(id, it)| Some((id, it.json()?))).collect()
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
    /// Soon after anybody was heard last, time stands still: while nothing is heard, nobody goes offline.
    fn is_online(&self, now: Option<Instant>) -> bool {
        let (Some(heard), Some(now)) = (self.heard, now) else { return false };
        !self.is_gone && now.saturating_duration_since(heard.at) < OFFLINE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use uuid::Uuid;

    fn name(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn record(name: &str, live_sessions: usize) -> NodeRecord {
        NodeRecord {
            name: name.into(),
            instance: Uuid::now_v7(),
            run: 1,
            version: "1".into(),
            labels: BTreeMap::from([("gpu".into(), name.into())]),
            live_sessions,
            max_sessions: 10,
            load: None,
            cores: 1,
            since: String::new(),
            gateway: false,
            rights: "controller".into(),
        }
    }

    #[test]
    fn who_is_silent_goes_offline_and_nobody_does_while_nothing_is_heard() {
        let is_online = |node_s: f64, anybody_s: f64| {
            let ago = |seconds: f64| Heard {
                at: Instant::now() - Duration::from_secs_f64(seconds),
                time: Utc::now(),
            };
            let node = Node { heard: Some(ago(node_s)), ..Node::default() };
            let nodes = BTreeMap::from([(name("attic"), node)]);
            let known = Known { heard: Some(ago(anybody_s)), nodes, ..Known::default() };
            known.is_online(&name("attic"))
        };
        assert!(is_online(8.5, 1.0) && !is_online(9.5, 1.0), "time goes on between two words");
        assert!(is_online(60.0, 56.0), "nothing was heard since");
        assert!(!is_online(60.0, 54.0), "it had been silent before");
    }

    fn says(directory: &Directory, node: &str, session: &Session) -> bool {
        let line = line_of(session, &name(node));
        directory.session_says(&name(node), session.id, &line)
    }

    fn session() -> Session {
        Session::begun(SessionId::generate(), Utc::now())
    }

    fn all<'a>(most: usize) -> Wanted<'a> {
        let (node, statuses, name, label, before) = (None, None, None, None, None);
        Wanted { node, statuses, ended: false, name, label, before, most }
    }

    #[test]
    fn an_id_is_the_machines_that_has_it() {
        let directory = Directory::default();
        for node in ["a", "b"] {
            directory.node_says(&name(node), record(node, 0));
        }
        let session = session();
        assert!(says(&directory, "a", &session));
        assert!(!says(&directory, "b", &session), "another machine's");
        assert_eq!(directory.locate(session.id, &name("b")), Some(name("a")));
        assert_eq!(directory.locate(session.id, &name("a")), None, "its own");
        directory.session_goes(&name("b"), session.id);
        assert!(directory.locate(session.id, &name("b")).is_some(), "not for b to remove");
        directory.node_goes(&name("a"));
        assert!(!says(&directory, "b", &session), "nor to take while its machine is away");
        // The machine has another name now.
        let known = directory.lock().nodes[&name("a")].record.as_ref().map(|it| it.instance);
        let renamed = NodeRecord { instance: known.unwrap(), ..record("new", 0) };
        directory.node_says(&name("new"), renamed);
        assert!(says(&directory, "new", &session));
        assert_eq!(directory.locate(session.id, &name("c")), Some(name("new")));
    }

    #[test]
    fn an_id_that_two_machines_claim_does_not_say_where_it_is() {
        let directory = Directory::default();
        for node in ["a", "b"] {
            directory.node_says(&name(node), record(node, 0));
        }
        let (claimed, other) = (session(), session());
        // After a start, the line of the wrong one may be read first.
        assert!(says(&directory, "b", &claimed) && !says(&directory, "a", &claimed));
        assert!(says(&directory, "a", &other));
        assert!(directory.is_disputed(claimed.id) && !directory.is_disputed(other.id));
        directory.session_goes(&name("b"), claimed.id);
        assert!(!directory.is_disputed(claimed.id), "it has given it up");
        assert!(says(&directory, "a", &claimed));
        assert_eq!(directory.locate(claimed.id, &name("c")), Some(name("a")));
    }

    #[test]
    fn nonsense_is_no_session() {
        let directory = Directory::default();
        let (one, other) = (session(), session());
        let line = line_of(&one, &name("a"));
        assert!(!directory.session_says(&name("a"), other.id, &line), "under another id");
        assert!(!directory.session_says(&name("a"), one.id, b"{}"));
        assert!(!directory.session_says(&name("a"), one.id, b""));
    }

    #[test]
    fn a_whole_list_takes_away_what_is_not_in_it_and_no_more() {
        let directory = Directory::default();
        let (kept, gone, of_other) = (session(), session(), session());
        for (node, session) in [("a", &kept), ("a", &gone), ("b", &of_other)] {
            directory.node_says(&name(node), record(node, 0));
            assert!(says(&directory, node, session));
        }
        assert!(!directory.is_listed_for(Duration::ZERO));
        directory.only_these(&HashSet::from([kept.id]), &HashSet::from([name("a")]));
        assert!(directory.is_listed_for(Duration::ZERO));
        let here = name("here");
        let located = [&kept, &gone, &of_other].map(|it| directory.locate(it.id, &here).is_some());
        assert_eq!(located, [true, false, true], "b has not told all of its own");
    }

    #[test]
    fn sessions_are_listed_newest_first_for_whom_they_exist() {
        let directory = Directory::default();
        let mine =
            Session { owner: Some("anna".into()), owner_token: Some(Uuid::now_v7()), ..session() };
        let other = session();
        for session in [&mine, &other] {
            assert!(says(&directory, "a", session));
        }
        let here = name("here");
        let ids = |wanted: &Wanted<'_>, who: &Principal| -> Vec<SessionId> {
            directory.sessions(wanted, who, &here).into_iter().map(|(id, _)| id).collect()
        };
        let owner = Principal::owner();
        assert_eq!(ids(&all(10), &owner), [other.id, mine.id]);
        assert_eq!(ids(&all(1), &owner), [other.id]);
        assert_eq!(ids(&Wanted { before: Some(other.id), ..all(10) }, &owner), [mine.id]);
        assert_eq!(ids(&Wanted { node: Some(&name("b")), ..all(10) }, &owner), []);
        let scope = crate::rights::Scope::Own;
        let anna = Principal { scope, name: "anna".into(), token: mine.owner_token, ..owner };
        assert_eq!(ids(&all(10), &anna), [mine.id]);
        let shown = directory.sessions(&all(10), &anna, &here);
        let shown: serde_json::Value = serde_json::from_str(&shown[0].1).unwrap();
        assert_eq!((&shown["node"], shown.get("owner_token")), (&"a".into(), None));
        assert!(directory.sessions(&all(10), &anna, &name("a")).is_empty(), "its own are its own");
    }

    #[test]
    fn pages_are_unpacked_without_the_directory_and_have_every_session_once_as_it_was_told() {
        let directory = Directory::default();
        let mut told: Vec<Session> = (0..25)
            .map(|n| Session {
                name: Some(format!("work-{n}")),
                ..Session::begun(SessionId::generate(), DateTime::UNIX_EPOCH)
            })
            .collect();
        for (n, session) in told.iter_mut().enumerate() {
            let node = ["a", "b"][n % 2];
            assert!(says(&directory, node, session));
            session.node = Some(node.to_owned());
        }
        let (here, owner) = (name("here"), Principal::owner());
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let page = directory.packed(&Wanted { before, ..all(10) }, &owner, &here);
            let Some((last, _)) = page.last() else { break };
            before = Some(*last);
            // Whoever is heard meanwhile holds nobody up.
            let held = directory.lock();
            pages.extend(page.iter().map(|(_, packed)| packed.session().unwrap()));
            drop(held);
        }
        told.reverse();
        assert_eq!(pages, told);
        let found = directory.find(&name("a"), "work-24").unwrap();
        assert_eq!(found, told[0]);
    }

    #[test]
    fn a_place_has_room_and_the_labels() {
        let directory = Directory::default();
        for (node, live) in [("a", 3), ("b", 1), ("c", 10)] {
            directory.node_says(&name(node), record(node, live));
        }
        let gate = NodeRecord { gateway: true, ..record("g", 0) };
        directory.node_says(&name("g"), gate);
        let closed = NodeRecord { rights: "viewer".into(), ..record("v", 0) };
        directory.node_says(&name("v"), closed);
        let places = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
            let places = directory.places(&labels.collect()).into_iter();
            places.map(|(node, _)| node.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places(&[]), ["b", "a"]);
        assert_eq!(places(&[("gpu", "a")]), ["a"]);
        assert_eq!(places(&[("gpu", "x")]), Vec::<String>::new());
        directory.node_goes(&name("b"));
        assert_eq!(places(&[]), ["a"]);
    }

    #[test]
    fn what_was_placed_is_found_before_it_is_told() {
        let directory = Directory::default();
        let session = samples::session("01890a5d-ac96-774b-bcce-b302099a8057", None);
        assert_eq!(directory.locate(session.id, &name("here")), None);
        directory.was_placed(session.id, &name("a"));
        assert_eq!(directory.locate(session.id, &name("here")), Some(name("a")));
    }
}
