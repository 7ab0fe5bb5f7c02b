//! Start-up: what was found is brought back to life, its timers armed anew, and what is
//! left of the rest swept (REQ-004-004 to REQ-004-007).

use super::actor::{Registry, transition};
use super::discover::{self, Found};
use crate::holder::Held;
use crate::id::SessionId;
use crate::lifecycle::{Effect, EndReason, Event, Lifecycle, LifecycleSnapshot, Now, Reason};
use crate::session::{Arrival, Revival, decide_restart, now, tell_end, write_life};
use crate::store::{Change, Row};
use crate::tree::{Grace, Tree};
use actix::prelude::*;
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::sleep;
use slog::{info, warn};
use std::time::Duration;

/// Between attempts to see a tree while /proc cannot be read, for want of a descriptor say.
const BLIND_RETRY: Duration = Duration::from_secs(1);
/// Trees that are swept at once: each looks at every process of the machine.
pub(super) const SWEEPS: usize = 4;

impl Registry {
    /// Brings to life what was found, and sweeps up the rest; `restart_plan` waits to be started.
    pub(super) fn restore(
        &mut self,
        found: Vec<Found>,
        again: Vec<Revival>,
        at: Now,
        ctx: &mut Context<Self>,
    ) {
        let (mut held, mut over) = (0, 0);
        for revival in again {
            let id = revival.row.session.id;
            self.await_restart(revival, !found.iter().any(|found| found.id() == id), ctx);
        }
        for found in found {
            match found {
                Found::Held { .. } => held += 1,
                Found::Ended { .. } => {}
                Found::Over { .. } => over += 1,
            }
            self.bring(found, at, ctx);
        }
        info!(self.log, "restored"; "held" => held, "lost" => over);
        self.restored.send_replace(true);
        self.forget_recordings(ctx);
    }

    /// Does with one session what its state asks for.
    pub(super) fn bring(&mut self, found: Found, at: Now, ctx: &mut Context<Self>) {
        match found {
            Found::Held { row, saved, held, news } => {
                if let Some(news) = news {
                    self.store.save(*news);
                }
                self.admit(row, held, Lifecycle::restore(saved, at), Arrival::Restored, ctx);
            }
            Found::Ended { row, exited, held } => self.conclude(row, exited, held, ctx),
            Found::Over { row, saved, event: Event::SpawnFailed }
                if row.session.restart_at.is_some() =>
            {
                self.begin_anew(row, saved, at, ctx);
            }
            Found::Over { row, saved, event } => {
                self.sweep(row, Lifecycle::restore(saved, at).0, event, ctx);
            }
        }
    }

    /// Its server died when it was about to start the session again: nothing runs, and the
    /// start did not happen.
    fn begin_anew(
        &mut self,
        mut row: Row,
        saved: LifecycleSnapshot,
        at: Now,
        ctx: &mut Context<Self>,
    ) {
        let (id, again) = (row.session.id, row.session.restart_at);
        let mut life = Lifecycle::restore(saved, at).0;
        let from = life.status();
        // Nobody can have attached.
        let _ = life.apply(Event::SpawnFailed, at);
        write_life(&mut row, &life);
        row.session.restarts = row.session.restarts.saturating_sub(1);
        row.session.restart_at = again;
        let reason = Reason::End(EndReason::SpawnFailed);
        let failed = transition(&self.log, id, at, Some(from), life.status(), reason);
        self.store.save(Change { row: row.clone(), transition: Some(failed) });
        self.await_restart(Revival { row, saved: Some(saved) }, true, ctx);
    }

    fn tree(&self, row: &Row) -> Tree {
        let holder = Some(self.holder.pid());
        Tree { id: row.session.id, leader: row.process.clone(), holder }
    }

    /// Ends a tree, a few at a time.
    fn end_tree(&self, tree: Tree) -> impl Future<Output = ()> + use<> {
        let (sweeps, log, id) = (self.sweeps.clone(), self.log.clone(), tree.id);
        async move {
            // Never closed.
            let _turn = sweeps.acquire().await;
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
    }

    /// A session whose end is written: its recording and its last screen may not be, and its
    /// output may be unread.
    fn conclude(&mut self, row: Row, exited: bool, held: Option<Held>, ctx: &mut Context<Self>) {
        if exited {
            return self.keep_held(row, held, ctx);
        }
        let end = self.end_tree(self.tree(&row));
        self.leaving.insert(row.session.id);
        let concluded = move |(), registry: &mut Self, ctx: &mut Context<Self>| {
            registry.keep_held(row, held, ctx);
        };
        ctx.spawn(end.into_actor(self).map(concluded));
    }

    fn keep_held(&mut self, row: Row, held: Option<Held>, ctx: &mut Context<Self>) {
        let id = row.session.id;
        let Some(held) = held else { return self.forget(id, ctx) };
        let life = Lifecycle::restore(discover::ended(&row), now());
        let session = self.launch(row, held, life, Arrival::Restored, ctx);
        self.keep_ended(session);
        self.left(id);
    }

    /// Ends what is left of a session that cannot go on, and says so in its row.
    pub(super) fn sweep(
        &mut self,
        mut row: Row,
        mut life: Lifecycle,
        event: Event,
        ctx: &mut Context<Self>,
    ) {
        let (id, holder) = (row.session.id, self.holder.clone());
        self.sweeping.insert(id);
        let swept = self.end_tree(self.tree(&row));
        ctx.spawn(swept.into_actor(self).then(move |(), registry, _| {
            let (at, before) = (now(), life.saved());
            let effects = life.apply(event, at).or_else(|_| life.apply(Event::RestoreFailed, at));
            write_life(&mut row, &life);
            decide_restart(&mut row);
            let revival = Revival::of(&row, Some(before));
            let recorded = effects.into_iter().flatten().find_map(|effect| match effect {
                Effect::Record { from, to, reason } => Some((from, to, reason)),
                _ => None,
            });
            let transition = recorded
                .map(|(from, to, reason)| transition(&registry.log, id, at, from, to, reason));
            let (store, events) = (registry.store.clone(), registry.events.clone());
            let session = row.session.clone();
            let written = async move {
                let _ = store.commit_or_queue(Change { row, transition }).await;
                tell_end(&events, &session);
                event != Event::RestoreFailed || holder.forget(id).await.is_ok()
            };
            written.into_actor(registry).map(move |forgotten, registry, ctx| {
                registry.swept(id);
                if let Some(revival) = revival {
                    registry.await_restart(revival, forgotten, ctx);
                }
            })
        }));
    }

    fn swept(&mut self, id: SessionId) {
        self.sweeping.remove(&id);
        self.settled.send_replace(());
    }
}
