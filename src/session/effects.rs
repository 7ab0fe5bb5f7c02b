//! What the state machine asks for, done: rows, log lines, timers, the end of a tree.

use super::actor::{Session, farewell};
use super::audit::log_transition;
use super::blob::Blob;
use super::notifications::tell_end;
use super::record::Applied;
use super::remains::Remains;
use super::requests::{Killed, SessionEnded};
use crate::events::Kind;
use crate::lifecycle::{Effect, Event, Now};
use crate::protocol::rfc3339;
use crate::store::Change;
use crate::tree::{self, Grace};
use actix::prelude::*;
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::sleep;
use chrono::Utc;
use serde_json::json;
use slog::{info, warn};
use std::time::Duration;

/// Timers are looked at this often, because tokio's clock stands still while the machine
/// sleeps and a deadline (on CLOCK_BOOTTIME) does not.
const TIMER_LOOK: Duration = Duration::from_secs(60);
/// How long a killed session waits for its leader's exit status after its tree is empty.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// After how long processes that did not end are tried again.
const TREE_RETRY: Duration = Duration::from_secs(5);
/// How often a final record that could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The two clocks.
pub(crate) fn now() -> Now {
    Now { wall: Utc::now(), boot_ms: tree::boottime_ms() }
}

impl Session {
    pub(super) fn execute(
        &mut self,
        Applied { change, effects }: Applied,
        ctx: &mut Context<Self>,
    ) {
        let (mut announce, mut end_tree, mut ended) = (false, false, false);
        for effect in effects {
            match effect {
                Effect::ArmTimer { generation, boot_ms } => self.arm(generation, boot_ms, ctx),
                Effect::CancelTimer => self.disarm(ctx),
                Effect::EndTree => end_tree = true,
                Effect::Announce => announce = true,
                Effect::Ended => ended = true,
                // They are in the change.
                Effect::Record { .. } | Effect::Save => {}
            }
        }
        let Some(change) = change else { return };
        self.link.publish(&change.row.session);
        log_transition(&self.context.log, &change);
        if let Some(transition) = change.transition.as_ref().filter(|_| !ended) {
            self.tell(
                Kind::Status,
                json!({ "from": transition.from, "status": transition.to,
                    "reason": transition.reason,
                    "active_connections": transition.active_connections }),
            );
        }
        self.keep_in_holder();
        if ended {
            self.finish(change, ctx);
        } else if end_tree {
            self.end_tree(change, ctx);
        } else {
            self.context.store.save(change);
        }
        if announce && !ended {
            self.announce(ctx);
        }
    }

    /// Writes the row behind, with no change of status.
    pub(super) fn save(&mut self) {
        self.refresh_row();
        self.keep_in_holder();
        self.context.store.save(self.record.unchanged());
    }

    /// Brings the row up to date, and publishes it.
    pub(super) fn refresh_row(&mut self) {
        self.record.refresh(Some(self.observed()), now());
        self.link.publish(&self.record.row.session);
    }

    /// Leaves with the holder what a server needs that finds no row, and the deadline on
    /// the clock that nobody can set.
    pub(super) fn keep_in_holder(&self) {
        if !self.record.has_ended() {
            let blob = Blob::of(&self.record);
            let (log, id) = (self.context.log.clone(), self.link.id());
            // Sent before the row is: whoever finds both takes the blob for the newer.
            let kept = self.context.holder.set_blob(id, &blob.to_bytes());
            actix::spawn(async move {
                if let Err(error) = kept.await {
                    warn!(log, "the holder did not keep a blob"; "session" => %id, "error" => %error);
                }
            });
        }
    }

    fn disarm(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
    }

    fn arm(&mut self, generation: u64, boot_ms: u64, ctx: &mut Context<Self>) {
        self.disarm(ctx);
        let left = Duration::from_millis(boot_ms.saturating_sub(tree::boottime_ms()));
        self.timer = Some(ctx.run_later(left.min(TIMER_LOOK), move |session, ctx| {
            session.timer = None;
            if tree::boottime_ms() >= boot_ms {
                session.destroy_if_unused(generation, ctx);
            } else {
                session.step_or_log(Event::ClockJumped, ctx);
                session.arm(generation, boot_ms, ctx);
            }
        }));
    }

    /// Ends the tree, once the intent to do so is written (or known to be unwritable).
    fn end_tree(&mut self, intent: Change, ctx: &mut Context<Self>) {
        self.disarm(ctx);
        self.tend(ctx);
        let (store, tree, log) =
            (self.context.store.clone(), self.tree(), self.context.log.clone());
        let id = self.link.id();
        let intent = store.commit_or_queue(intent);
        let end = async move {
            if !matches!(intent.await, Ok(true)) {
                warn!(log, "killing before the intent could be stored"; "session" => %id);
            }
            // The end is written once the tree was seen empty, however long that takes.
            loop {
                let tree = tree.clone();
                let ended = spawn_blocking(move || tree.end(Grace::default())).await;
                match ended {
                    Ok(Ok(report)) if report.left.is_empty() => break,
                    Ok(Ok(report)) => {
                        let pids: Vec<_> = report.left.iter().map(|member| member.pid).collect();
                        warn!(log, "processes do not end"; "session" => %id, "pids" => ?pids);
                    }
                    Ok(Err(error)) => {
                        warn!(log, "cannot see a tree"; "session" => %id, "error" => %error);
                    }
                    Err(error) => {
                        warn!(log, "ending a tree failed"; "session" => %id, "error" => %error);
                    }
                }
                sleep(TREE_RETRY).await;
            }
        };
        ctx.spawn(end.into_actor(self).map(|(), session, ctx| session.tree_ended(ctx)));
    }

    /// What is left of a session that the holder does not hold is swept.
    pub(super) fn lost(&mut self, ctx: &mut Context<Self>) {
        let (tree, log, id) = (self.tree(), self.context.log.clone(), self.link.id());
        let swept = async move {
            loop {
                let tree = tree.clone();
                match spawn_blocking(move || tree.end(Grace::default())).await {
                    // The processes could not be seen, so the end must not be written yet.
                    Ok(Err(error)) => {
                        warn!(log, "cannot see a tree"; "session" => %id, "error" => %error);
                        sleep(TREE_RETRY).await;
                    }
                    _ => return,
                }
            }
        };
        ctx.spawn(swept.into_actor(self).map(|(), session, ctx| {
            session.step_or_log(Event::Orphaned, ctx);
        }));
    }

    fn tree_ended(&mut self, ctx: &mut Context<Self>) {
        if self.link.ring().ended().is_some() {
            ctx.notify(super::requests::Noticed::Exited);
        }
        self.awaiting_exit = true;
        ctx.run_later(EXIT_GRACE, |session, ctx| {
            if std::mem::take(&mut session.awaiting_exit) {
                session.step_or_log(Event::TreeEmpty, ctx);
            }
        });
    }

    /// The end: written, then told, then completed.
    fn finish(&mut self, last: Change, ctx: &mut Context<Self>) {
        self.disarm(ctx);
        let (store, mut remains) = (self.context.store.clone(), self.remains());
        let mut session = last.row.session.clone();
        let written = async move {
            let persisted = store.commit_or_queue(last).await.unwrap_or(false);
            // Whoever hears of the end finds all of it.
            remains.keep_soon().await;
            (persisted, remains)
        };
        ctx.spawn(written.into_actor(self).map(move |(persisted, remains), actor, ctx| {
            if session.restart_at != actor.record.row.session.restart_at {
                // Somebody wanted it gone meanwhile.
                session.restart_at = actor.record.row.session.restart_at;
                actor.context.store.save(actor.record.unchanged());
                actor.link.publish(&session);
            }
            if persisted {
                // Before anybody is told, so that whoever hears of it finds its name free.
                actor.leave_registry(false);
            }
            tell_end(&actor.context.events, &session);
            if let Some(farewell) = farewell(&session) {
                actor.tell_all(&farewell);
            }
            actor.end_told = true;
            for waiting in actor.waiting_for_end.drain(..) {
                // Whoever asked may have gone.
                let _ = waiting.send(Killed { session: session.clone(), persisted });
            }
            actor.complete(persisted, remains, ctx);
        }));
        info!(self.context.log, "ended"; "session" => %self.link.id(),
            "at" => self.record.row.session.ended_at.map(rfc3339),
            "exit_code" => self.record.row.session.exit_code, "exit_signal" => self.record.row.session.exit_signal);
    }

    pub(super) fn remains(&self) -> Remains {
        Remains::of(&self.link, self.context.store.clone(), self.context.log.clone())
    }

    /// Has everything of an ended session written, however long that takes: until then the
    /// holder keeps it for a server after this one.
    pub(super) fn complete(
        &mut self,
        mut persisted: bool,
        remains: Remains,
        ctx: &mut Context<Self>,
    ) {
        let store = self.context.store.clone();
        let completed = async move {
            while !persisted {
                sleep(STORE_RETRY).await;
                persisted = store.flush().await.is_ok();
            }
            remains.keep().await;
        };
        ctx.spawn(completed.into_actor(self).map(|(), actor, _| actor.leave_registry(true)));
    }

    fn leave_registry(&self, complete: bool) {
        let revival = self.record.revival().map(Box::new);
        let id = self.link.id();
        self.context.registry.do_send(SessionEnded { id, revival, complete });
    }
}
