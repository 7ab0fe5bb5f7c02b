//! What cannot go on: what is left of its processes is ended, and its row says so
//! (REQ-004-004 to REQ-004-007).

use super::discover::Sources;
use crate::events::Bus;
use crate::lifecycle::{Effect, EndReason, Event, Lifecycle, LifecycleSnapshot, Now, Reason};
use crate::registry::transitions::transition;
use crate::session::{Revival, decide_restart, now, tell_end, write_life};
use crate::store::{Change, Row};
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
    pub(in crate::registry) async fn sweep(
        self,
        mut row: Row,
        mut life: Lifecycle,
        event: Event,
    ) -> Swept {
        self.end_tree(&row).await;
        let Sources { store, holder, log } = self.sources;
        let (id, at, before) = (row.session.id, now(), life.saved());
        let effects = life.apply(event, at).or_else(|_| life.apply(Event::RestoreFailed, at));
        write_life(&mut row, &life);
        decide_restart(&mut row);
        let revival = Revival::of(&row, Some(before));
        let recorded = effects.into_iter().flatten().find_map(|effect| match effect {
            Effect::Record { from, to, reason } => Some((from, to, reason)),
            _ => None,
        });
        let transition =
            recorded.map(|(from, to, reason)| transition(&log, id, at, from, to, reason));
        let session = row.session.clone();
        let _ = store.commit_or_queue(Change { row, transition }).await;
        tell_end(&self.events, &session);
        let forgotten = event != Event::RestoreFailed || holder.forget(id).await.is_ok();
        Swept { revival, forgotten }
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

/// A session whose server died when it was about to start it again: nothing runs, and that start
/// did not happen. Returns what is to be written, and what is to be started once more.
pub(in crate::registry) fn undo_start(
    mut row: Row,
    saved: LifecycleSnapshot,
    at: Now,
    log: &Logger,
) -> (Change, Revival) {
    let (id, restart_at) = (row.session.id, row.session.restart_at);
    let mut life = Lifecycle::restore(saved, at).0;
    let from = life.status();
    // Nobody can have attached.
    let _ = life.apply(Event::SpawnFailed, at);
    write_life(&mut row, &life);
    row.session.restarts = row.session.restarts.saturating_sub(1);
    row.session.restart_at = restart_at;
    let reason = Reason::End(EndReason::SpawnFailed);
    let failed = transition(log, id, at, Some(from), life.status(), reason);
    let change = Change { row: row.clone(), transition: Some(failed) };
    (change, Revival { row, saved: Some(saved) })
}
