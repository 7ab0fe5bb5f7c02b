//! Reads the directory, and keeps reading: every line once, and then what changes. Watches can stop without
//! a word, so each is given up after a minute, or when it is silent where it cannot be, and begun anew.

use super::bucket::{ANSWER, ITSELF, NODE_AGE, NODES, SESSIONS};
use super::directory::{Directory, TOLD_WITHIN};
use super::limits::hold_record;
use super::line::{Refusal, check_length};
use super::record::NodeRecord;
use crate::id::SessionId;
use crate::relay::{Lanes, NodeName};
use crate::rights::Grants;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::kv::{Entry, Operation};
use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use slog::{Logger, warn};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a watch is kept at least, and the longest silence of the bucket of sessions.
const WATCH: Duration = Duration::from_secs(60);
/// A directory that takes long to be read is read less often: most of the time goes into what changes.
const TIMES_LISTING: u32 = 10;
/// How long the next of the first lines of a watch may take. All of them may take as long as they are many.
const LINE: Duration = Duration::from_secs(10);
/// The pause before a watch that failed is begun anew.
const PAUSE: Duration = Duration::from_millis(500);

/// What one watch has read.
#[derive(Default)]
struct Listing {
    sessions: HashSet<SessionId>,
    /// Machines that had told all of their sessions.
    whole: HashSet<NodeName>,
}

/// What reads.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) context: Context,
    pub(super) directory: Directory,
    pub(super) lanes: watch::Receiver<Option<Arc<Lanes>>>,
    /// Has the links to sessions of other machines.
    pub(super) grants: Arc<Grants>,
    pub(super) log: Logger,
}

impl Watcher {
    /// Reads a bucket until the server ends, anew after each connection.
    pub(super) async fn keep_watching(
        self,
        bucket: &'static str,
        mut connected: watch::Receiver<u64>,
    ) {
        loop {
            let failed = tokio::select! {
                read = self.watch(bucket) => read.is_none(),
                changed = connected.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
            };
            if failed {
                sleep(PAUSE).await;
            }
        }
    }

    /// One watch. `None`: it failed.
    async fn watch(&self, bucket: &str) -> Option<()> {
        let store = timeout(ANSWER, self.context.get_key_value(bucket)).await.ok()?.ok()?;
        let (begun, mut there) = (Instant::now(), Listing::default());
        let mut watch = timeout(ANSWER, store.watch_with_history(">")).await.ok()?.ok()?;
        let is_empty = timeout(ANSWER, store.status()).await.ok()?.ok()?.values() == 0;
        // The time at which the watch is begun anew, once the first lines have been read.
        let mut ends = None;
        if is_empty {
            ends = Some(begun + WATCH);
            self.listed(bucket, &there);
        }
        loop {
            // This machine's own line comes every few seconds, so the bucket of machines is never silent.
            let silent = if bucket == NODES { NODE_AGE } else { WATCH };
            let now = Instant::now();
            let until = ends.map_or(now + LINE, |ends| ends.min(now + silent));
            let entry = match timeout_at(until, watch.next()).await {
                Ok(Some(Ok(entry))) => entry,
                Ok(Some(Err(_)) | None) => return None,
                Err(_) if ends.is_some_and(|ends| ends <= Instant::now()) => return Some(()),
                Err(_) => return None,
            };
            let is_last = entry.delta == 0;
            self.take(bucket, &entry, &mut there);
            if is_last && ends.is_none() {
                ends = Some(Instant::now() + WATCH.max(begun.elapsed() * TIMES_LISTING));
                self.listed(bucket, &there);
            }
        }
    }

    fn listed(&self, bucket: &str, there: &Listing) {
        if bucket == SESSIONS {
            self.directory.only_these(&there.sessions, &there.whole);
            let Listing { sessions, whole } = there;
            let (now, soon) = (Utc::now(), TimeDelta::from_std(TOLD_WITHIN).unwrap_or_default());
            self.grants.end_shares_elsewhere(|node, share| {
                // A session that was just placed may not be told yet.
                let is_told = now - share.created_at > soon;
                is_told && whole.contains(node) && !sessions.contains(&share.session)
            });
        }
    }

    fn take(&self, bucket: &str, entry: &Entry, there: &mut Listing) {
        if bucket == NODES {
            let Ok(name) = NodeName::new(&entry.key) else { return };
            match self.record(&name, entry) {
                Some(record) => {
                    if let Some(run) = self.directory.node_says(&name, record)
                        && let Some(lanes) = &*self.lanes.borrow()
                    {
                        lanes.is_now(&name, run);
                    }
                }
                None => self.directory.node_goes(&name),
            }
            return;
        }
        let put_at = entry.created.unix_timestamp();
        let Some((name, id)) = entry.key.split_once('.') else { return };
        let Ok(name) = NodeName::new(name) else { return };
        if id == ITSELF {
            if let Some(record) = self.record(&name, entry) {
                self.directory.node_said(&name, record, put_at);
                there.whole.insert(name);
            }
            return;
        }
        let Ok(id) = id.parse::<SessionId>() else { return };
        let told = match entry.operation {
            Operation::Put => self.directory.session_says(&name, id, &entry.value, put_at),
            _ => Err(Refusal::Ignored),
        };
        if told.is_err() {
            self.directory.session_goes(&name, id);
        }
        match told {
            // Somebody has it: links to it do not end.
            Ok(()) | Err(Refusal::Disputed) => {
                there.sessions.insert(id);
            }
            Err(Refusal::TooMuch(why)) => {
                there.sessions.insert(id);
                self.warn(&name, &id.to_string(), &why);
            }
            Err(Refusal::Ignored) => {}
        }
        if entry.operation == Operation::Delete {
            self.grants.end_shares_elsewhere(|node, share| *node == name && share.session == id);
        }
    }

    /// A machine's record, cut to its limits; `None` if it was removed or cannot be read.
    fn record(&self, name: &NodeName, entry: &Entry) -> Option<NodeRecord> {
        if entry.operation != Operation::Put {
            return None;
        }
        let warn = |why: &str| self.warn(name, "none, but its own record", why);
        if let Err(Refusal::TooMuch(why)) = check_length(&entry.value) {
            warn(&why);
            return None;
        }
        let mut record = serde_json::from_slice::<NodeRecord>(&entry.value).ok()?;
        if let Some(why) = hold_record(&mut record, name) {
            warn(&why);
        }
        Some(record)
    }

    /// Warns of a machine that says more than there can be: once, since it says so again and again.
    fn warn(&self, name: &NodeName, session: &str, why: &str) {
        if self.directory.refuses(name) {
            warn!(self.log, "a machine of the fleet says more than a session, or a machine, may have: what \
                exceeds the limits is not shown here. Have the same version of stayd there and here; if the \
                machine is none of yours, remove its user from NATS. Further lines of this machine are only \
                counted (stayd_fleet_refused_lines_total)";
                "node" => %name, "session" => session, "why" => why);
        }
    }
}
