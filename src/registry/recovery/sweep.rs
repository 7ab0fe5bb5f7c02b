//! Sessions that cannot go on: their remaining processes are ended, and their rows say so
//! (REQ-004-004 to REQ-004-007).

use super::discover::Sources;
use crate::events::Bus;
use crate::lifecycle::Event;
use crate::session::{Record, Revival, end_tree, log_transition, now, tell_end};
use crate::store::Row;
use crate::tree::Tree;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Trees that are swept at once: each looks at every process of the machine.
const SWEEPS: usize = 4;

/// Ends what is left of sessions that cannot go on, a few at a time.
#[derive(Clone)]
pub(in crate::registry) struct Sweeper {
    sources: Sources,
    events: Bus,
    permits: Arc<Semaphore>,
}

/// A session whose end is written.
pub(in crate::registry) struct Swept {
    /// Its command is to be started again.
    pub(in crate::registry) revival: Option<Revival>,
    /// The holder has nothing of it any more.
    pub(in crate::registry) forgotten: bool,
}

impl Sweeper {
    pub(in crate::registry) fn new(sources: Sources, events: Bus) -> Self {
        Sweeper { sources, events, permits: Arc::new(Semaphore::new(SWEEPS)) }
    }

    /// Ends the processes of a session.
    pub(in crate::registry) async fn end_tree(&self, row: &Row) {
        let keepers = Some(self.sources.holder.keepers());
        let tree = Tree { id: row.session.id, leader: row.process.clone(), keepers };
        // Never closed.
        let _permit = self.permits.acquire().await;
        end_tree(&tree, &self.sources.log).await;
    }

    /// Ends what is left of a session that `event` has ended, and writes that into its row.
    pub(in crate::registry) async fn sweep(self, mut record: Record, event: Event) -> Swept {
        self.end_tree(&record.row).await;
        let Sources { store, holder, log } = self.sources;
        let change = record.end(event, now());
        log_transition(&log, &change);
        let session = change.row.session.clone();
        let _ = store.commit_or_queue(change).await;
        tell_end(&self.events, &session, false);
        let forgotten = event != Event::RestoreFailed || holder.forget(session.id).await.is_ok();
        Swept { revival: record.revival(), forgotten }
    }
}
