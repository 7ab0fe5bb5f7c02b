//! The sessions of other machines, as an edge keeps them. There may be a hundred thousand: each takes little, and
//! what is asked of one machine looks at that machine's alone.

use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::Session;
use crate::relay::NodeName;
use crate::rights::Facts;
use chrono::DateTime;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// What most sessions have in common, their fields' names above all, is kept once.
static COMMON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let id = SessionId::from_bytes([0; 16]);
    let begun = Session::begun(id, DateTime::UNIX_EPOCH);
    serde_json::to_vec(&begun).unwrap_or_default()
});

/// A session's JSON, compressed. Clones share it: it is packed and unpacked where nobody waits for the directory.
#[derive(Clone)]
pub(super) struct Packed {
    json: Arc<[u8]>,
    owner_token: Option<Uuid>,
}

impl Packed {
    pub(super) fn of(session: &Session) -> Packed {
        let json = serde_json::to_vec(session).unwrap_or_default();
        let json = compress_prepend_size_with_dict(&json, &COMMON).into();
        Packed { json, owner_token: session.owner_token }
    }

    /// The JSON that clients are shown.
    pub(super) fn json(&self) -> Option<Box<str>> {
        let json = decompress_size_prepended_with_dict(&self.json, &COMMON).ok()?;
        Some(String::from_utf8(json).ok()?.into_boxed_str())
    }

    /// The session as its machine last said it.
    pub(super) fn session(&self) -> Option<Session> {
        let session = serde_json::from_str(&self.json()?).ok()?;
        Some(Session { owner_token: self.owner_token, ..session })
    }
}

/// A session of another machine.
pub(super) struct Listed {
    pub(super) node: NodeName,
    owner: Option<Box<str>>,
    labels: Arc<BTreeMap<String, String>>,
    pub(super) name: Option<Box<str>>,
    pub(super) status: Status,
    pub(super) line: LineMark,
    pub(super) packed: Packed,
}

/// The identity of a line: its content as a hash, and its time.
#[derive(Clone, Copy)]
pub(super) struct LineMark {
    /// A hash, by which a line that has not changed is known.
    pub(super) hash: u64,
    /// The time of its last put, by the clock of NATS, in seconds since 1970.
    pub(super) put_at: i64,
}

impl Listed {
    /// The facts by which a scope decides.
    pub(super) fn facts(&self, id: SessionId) -> Facts<'_> {
        let Listed { owner, labels, packed, .. } = self;
        Facts { id, owner: owner.as_deref(), owner_token: packed.owner_token, labels }
    }

    /// Whether it has this label.
    pub(super) fn has(&self, key: &str, value: &str) -> bool {
        self.labels.get(key).is_some_and(|it| it == value)
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Listings {
    all: BTreeMap<SessionId, Box<Listed>>,
    of: HashMap<NodeName, OfOne>,
    /// Many sessions have the same labels.
    labels: HashSet<Arc<BTreeMap<String, String>>>,
}

/// Those of one machine.
#[derive(Default)]
struct OfOne {
    ids: BTreeSet<SessionId>,
    live: usize,
}

impl Listings {
    pub(super) fn get(&self, id: SessionId) -> Option<&Listed> {
        self.all.get(&id).map(|listed| &**listed)
    }

    /// The number of all sessions.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of a machine's sessions.
    pub(super) fn count(&self, node: &NodeName) -> usize {
        self.of.get(node).map_or(0, |of| of.ids.len())
    }

    /// The number of these that have not ended.
    pub(super) fn live(&self, node: &NodeName) -> usize {
        self.of.get(node).map_or(0, |of| of.live)
    }

    /// Those of a machine or of all, newest first, older than one of them.
    pub(super) fn newest(
        &self,
        node: Option<&NodeName>,
        before: Option<SessionId>,
    ) -> Box<dyn Iterator<Item = (SessionId, &Listed)> + '_> {
        let range = (Unbounded, before.map_or(Unbounded, Excluded));
        match node {
            None => Box::new(self.all.range(range).rev().map(|(id, it)| (*id, &**it))),
            Some(node) => {
                let ids =
                    self.of.get(node).into_iter().flat_map(move |of| of.ids.range(range).rev());
                Box::new(ids.filter_map(|id| Some((*id, self.get(*id)?))))
            }
        }
    }

    /// Notes that a session's line was put again as it was.
    pub(super) fn put_again(&mut self, id: SessionId, at: i64) {
        if let Some(listed) = self.all.get_mut(&id) {
            listed.line.put_at = at;
        }
    }

    /// Puts a session in the place of what was known of it.
    pub(super) fn insert(
        &mut self,
        node: &NodeName,
        session: &Session,
        packed: Packed,
        line: LineMark,
    ) {
        self.remove(session.id);
        let of = self.of.entry(node.clone()).or_default();
        of.ids.insert(session.id);
        of.live += usize::from(session.status.is_live());
        // The name that is kept already.
        let node = self.of.get_key_value(node).map_or(node, |(kept, _)| kept);
        let listed = Listed {
            node: node.clone(),
            owner: session.owner.as_deref().map(Into::into),
            labels: shared(&mut self.labels, &session.labels),
            name: session.name.as_deref().map(Into::into),
            status: session.status,
            line,
            packed,
        };
        self.all.insert(session.id, Box::new(listed));
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        let Some(listed) = self.all.remove(&id) else { return };
        let Some(of) = self.of.get_mut(&listed.node) else { return };
        of.ids.remove(&id);
        of.live -= usize::from(listed.status.is_live());
        if of.ids.is_empty() {
            self.of.remove(&listed.node);
        }
        // Here, and where they are kept once.
        if Arc::strong_count(&listed.labels) == 2 {
            self.labels.remove(&listed.labels);
        }
    }

    /// Removes the others.
    pub(super) fn keep(&mut self, keeps: impl Fn(SessionId, &Listed) -> bool) {
        let all = self.newest(None, None);
        let gone: Vec<SessionId> =
            all.filter(|(id, listed)| !keeps(*id, listed)).map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }
}

/// The same labels, kept once.
fn shared(
    all: &mut HashSet<Arc<BTreeMap<String, String>>>,
    labels: &BTreeMap<String, String>,
) -> Arc<BTreeMap<String, String>> {
    if let Some(kept) = all.get(labels) {
        return kept.clone();
    }
    let kept = Arc::new(labels.clone());
    all.insert(kept.clone());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;

    fn session() -> Session {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        Session { labels, ..Session::begun(SessionId::generate(), Utc::now()) }
    }

    fn put(listings: &mut Listings, node: &NodeName, session: &Session) {
        listings.insert(node, session, Packed::of(session), LineMark { hash: 0, put_at: 0 });
    }

    #[test]
    fn a_session_is_shown_as_it_was_put_and_takes_less_than_half_of_it() {
        let (mut listings, session) = (Listings::default(), session());
        put(&mut listings, &NodeName::new("a").unwrap(), &session);
        let packed = &listings.get(session.id).unwrap().packed;
        let json = serde_json::to_string(&session).unwrap();
        assert_eq!(packed.json().as_deref(), Some(&*json));
        assert!(packed.json.len() * 2 < json.len(), "{} of {}", packed.json.len(), json.len());
    }

    #[test]
    fn each_machine_has_its_own_and_their_counts() {
        let [a, b] = ["a", "b"].map(|name| NodeName::new(name).unwrap());
        let mut listings = Listings::default();
        let (one, two, other) = (session(), session(), session());
        for (node, session) in [(&a, &one), (&a, &two), (&b, &other)] {
            put(&mut listings, node, session);
        }
        let ids = |listings: &Listings, before| -> Vec<SessionId> {
            listings.newest(Some(&a), before).map(|(id, _)| id).collect()
        };
        assert_eq!(ids(&listings, None), [two.id, one.id]);
        assert_eq!(ids(&listings, Some(two.id)), [one.id]);
        assert_eq!(listings.newest(None, None).count(), 3);
        put(&mut listings, &a, &Session { status: Status::Terminated, ..two.clone() });
        assert_eq!((listings.count(&a), listings.live(&a), listings.live(&b)), (2, 1, 1));
        listings.keep(|id, _| id == other.id);
        assert_eq!((listings.count(&a), listings.live(&a), listings.count(&b)), (0, 0, 1));
        assert_eq!(listings.labels.len(), 1, "those that are still used");
        let other = listings.all.keys().next().copied().unwrap();
        for n in 0..10 {
            let labels = BTreeMap::from([("n".to_owned(), n.to_string())]);
            let changed = Session { labels, ..Session::begun(other, Utc::now()) };
            put(&mut listings, &b, &changed);
        }
        assert_eq!(listings.labels.len(), 1, "however often they change");
    }
}
