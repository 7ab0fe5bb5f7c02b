//! Sessions that cannot go on: their remaining processes are ended, and their rows say so
//! (REQ-004-004 to REQ-004-007).

use super::discover::Sources;
use crate::events::Bus;
use crate::lifecycle::Event;
use crate::session::{Record, Revival, log_transition, now, tell_end};
use crate::store::Row;
use crate::tree::{Grace, Tree};
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::sleep;
use slog::{Logger, warn};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Between attempts to see a tree while /proc cannot be read, for want of a descriptor say.
const BLIND_RETRY: Duration = Duration::from_secs(1);
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
        let holder = Some(self.sources.holder.pid());
        let tree = Tree { id: row.session.id, leader: row.process.clone(), holder };
        // Never closed.
        let _permit = self.permits.acquire().await;
        end_tree(tree, &self.sources.log).await;
    }

    /// Ends what is left of a session that `event` has ended, and writes that into its row.
    pub(in crate::registry) async fn sweep(self, mut record: Record, event: Event) -> Swept {
        self.end_tree(&record.row).await;
        let Sources { store, holder, log } = self.sources;
        let change = record.end(event, now());
        log_transition(&log, &change);
        let session = change.row.session.clone();
        let _ = store.commit_or_queue(change).await;
        tell_end(&self.events, &session);
        let forgotten = event != Event::RestoreFailed || holder.forget(session.id).await.is_ok();
        Swept { revival: record.revival(), forgotten }
    }
}

async fn end_tree(tree: Tree, log: &Logger) {
    let id = tree.id;
    loop {
        let tree = tree.clone();
        let left = match spawn_blocking(move || tree.end(Grace::default())).await {
            Ok(Ok(report)) if report.left.is_empty() => return,
            Ok(Ok(report)) => report.left.len(),
            // The processes could not be seen, so the end must not be written yet.
            Ok(Err(error)) => {
                warn!(log, "cannot see what is left of a session"; "session" => %id,
                    "error" => %error);
                sleep(BLIND_RETRY).await;
                continue;
            }
            Err(error) => {
                warn!(log, "ending a tree failed"; "session" => %id, "error" => %error);
                return;
            }
        };
        warn!(log, "what is left of a session could not be ended"; "session" => %id,
            "processes" => left);
        return;
    }
}
