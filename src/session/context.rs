//! The parts of the server that every session uses.

use super::blob::Blob;
use super::causes::log_transition;
use super::handle::SessionHandle;
use super::notices::Notices;
use super::notifications::status;
use super::processes::end_whole_tree;
use super::record::Record;
use super::remains::Remains;
use super::requests::SessionEnded;
use crate::attention::Agents;
use crate::events::{Bus, Kind};
use crate::holder::Holder;
use crate::protocol::Session;
use crate::store::{Change, StoreHandle};
use crate::tree::Tree;
use actix::prelude::*;
use chrono::Utc;
use serde_json::Value;
use slog::{Logger, warn};
use std::time::Duration;

/// The server, as its sessions know it.
#[derive(Clone)]
pub struct SessionContext {
    /// Writes state to SQLite.
    pub store: StoreHandle,
    /// Holds the PTY.
    pub holder: Holder,
    /// Where its actor hears of what the holder notices.
    pub notices: Notices,
    /// The registry, which is told of the end.
    pub registry: Recipient<SessionEnded>,
    /// Where what happens is told.
    pub events: Bus,
    /// After how long without output that is told; `None`: never.
    pub quiet_after: Option<Duration>,
    /// The programs whose screens are understood.
    pub agents: Agents,
    /// Bytes of output that the ring of an idle session keeps.
    pub idle_ring_bytes: u64,
    /// Where transitions are logged.
    pub log: Logger,
}

impl SessionContext {
    pub(super) fn tell(&self, session: &Session, events: impl IntoIterator<Item = (Kind, Value)>) {
        for (kind, more) in events {
            self.events.tell(kind, session, Utc::now(), more);
        }
    }

    /// Logs a transition, and tells it unless it is the end, which is told once it is written.
    pub(super) fn note(&self, change: &Change) {
        log_transition(&self.log, change);
        let status = change.transition.as_ref().filter(|to| to.to.is_live()).map(status);
        self.tell(&change.row.session, status);
    }

    /// Leaves with the holder what a server needs that finds no row, and the deadline on
    /// the clock that nobody can set.
    pub(super) fn leave_with_holder(&self, record: &Record) {
        if !record.has_ended() {
            Blob::of(record).leave(record.row.session.id, &self.holder, &self.log);
        }
    }

    /// Writes the row behind, with no change of status.
    pub(super) fn save(&self, record: &Record) {
        self.leave_with_holder(record);
        self.store.save(record.unchanged());
    }

    pub(super) fn tree(&self, record: &Record) -> Tree {
        let keepers = Some(self.holder.keepers());
        Tree { id: record.row.session.id, leader: record.row.process.clone(), keepers }
    }

    /// Ends the whole tree, once the intent to do so is written (or known to be unwritable).
    pub(super) fn end_tree(&self, intent: Change, tree: Tree) -> impl Future<Output = ()> + use<> {
        let (intent, log) = (self.store.commit_or_queue(intent), self.log.clone());
        async move {
            if !matches!(intent.await, Ok(true)) {
                warn!(log, "killing before the intent could be stored"; "session" => %tree.id);
            }
            end_whole_tree(&tree, &log).await;
        }
    }

    pub(super) fn remains(&self, handle: &SessionHandle) -> Remains {
        Remains::of(handle, self.store.clone(), self.log.clone())
    }

    /// Tells the registry that a session is over, and whether all that is kept of it is written.
    pub(super) fn leave_registry(&self, record: &Record, complete: bool) {
        let (id, revival) = (record.row.session.id, record.revival().map(Box::new));
        self.registry.do_send(SessionEnded { id, revival, complete });
    }
}
