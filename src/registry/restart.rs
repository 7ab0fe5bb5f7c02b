//! Sessions whose command is started again under the same id: because somebody asks for
//! it, or because their policy says so once they have ended.

use super::actor::{Named, Registry};
use super::create::CreateError;
use super::lookup::{Place, over};
use super::requests::{CancelRestart, Key, Restart, RestartError, SessionRef};
use super::restart_plan::plan_again;
use super::start::{Spawned, Unstarted, spawn};
use crate::events::Kind;
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Reason};
use crate::protocol::{Cause, Session as View};
use crate::session::{Arrival, Expected, NotDone, Revival, StopForRestart, now};
use crate::store::{Change, Row};
use actix::prelude::*;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use slog::warn;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// After how long a restart is tried again that the database, a limit or another session of
/// its name did not allow.
const RETRY: Duration = Duration::from_secs(5);

type Restarted = Result<SessionRef, RestartError>;

/// What the registry knows of restarts.
#[derive(Default)]
pub(super) struct Restarts {
    /// Ended sessions that will be started again.
    pub(super) pending: HashMap<SessionId, Pending>,
    /// Those that are being started now; ends when that is over.
    pub(super) under_way: HashMap<SessionId, watch::Receiver<()>>,
    /// Who waits for one.
    waiting: HashMap<SessionId, Waiting>,
}

impl Restarts {
    /// Whether anybody still waits for this one; who was refused or has gone does not.
    fn is_asked_for(&mut self, id: SessionId) -> bool {
        let Some(waiting) = self.waiting.get_mut(&id) else { return false };
        waiting.tell.retain(|tell| !tell.is_closed());
        let asked = !waiting.tell.is_empty();
        if !asked {
            self.waiting.remove(&id);
        }
        asked
    }
}

/// Who waits for a restart.
#[derive(Default)]
struct Waiting {
    /// The last of them.
    cause: Option<Cause>,
    tell: Vec<oneshot::Sender<Restarted>>,
}

pub(super) struct Pending {
    pub(super) revival: Revival,
    /// The holder may still have what has ended.
    forgotten: bool,
    timer: Option<SpawnHandle>,
}

impl Registry {
    /// Sessions that have ended and will be started again.
    pub(super) fn restarting(&self) -> impl Iterator<Item = &View> {
        self.restarts.pending.values().map(|pending| &pending.revival.row.session)
    }

    /// After a session's end, or at the start of the server: waits until it is due. Its name
    /// stays its own.
    pub(super) fn await_restart(
        &mut self,
        revival: Revival,
        forgotten: bool,
        ctx: &mut Context<Self>,
    ) {
        let id = revival.row.session.id;
        if let Some(name) = &revival.row.session.name {
            // At the start of the server a live session may have it.
            self.names.entry(name.clone()).or_insert(Named::Live(id));
        }
        let pending = Pending { revival, forgotten: false, timer: None };
        self.restarts.pending.entry(id).or_insert(pending);
        if forgotten {
            self.may_restart(id, ctx);
        }
    }

    /// Nothing is left of what has ended: starts it when it is due.
    pub(super) fn may_restart(&mut self, id: SessionId, ctx: &mut Context<Self>) {
        let asked = self.restarts.is_asked_for(id);
        let Some(pending) = self.restarts.pending.get_mut(&id) else {
            return self.restart_after_end(id, asked, ctx);
        };
        pending.forgotten = true;
        let due = pending.revival.row.session.restart_at.unwrap_or_default();
        let left = (due - Utc::now()).to_std().unwrap_or(Duration::ZERO);
        let left = if asked { Duration::ZERO } else { left };
        if let Some(timer) = pending.timer.take() {
            ctx.cancel_future(timer);
        }
        pending.timer = Some(ctx.run_later(left, move |registry, ctx| registry.revive(id, ctx)));
    }

    fn revive(&mut self, id: SessionId, ctx: &mut Context<Self>) {
        let Some(pending) = self.restarts.pending.remove(&id) else { return };
        if self.stopping {
            // Its row says so to the next server.
            self.answer(id, &Err(CreateError::Stopping.into()));
            return;
        }
        let Pending { revival, .. } = pending;
        let cause = self.restarts.waiting.get(&id).and_then(|waiting| waiting.cause.clone());
        if revival.is_overdue(now()) {
            self.stay_ended(revival.row);
            return self.answer(id, &Err(RestartError::Ending));
        }
        if self.is_full() {
            self.answer(id, &Err(self.too_many().into()));
            return self.try_again(revival, ctx);
        }
        let name = revival.row.session.name.clone();
        if let Some(name) = &name
            && !self.names.get(name).is_some_and(|named| named.is_of(id))
        {
            self.answer(id, &Err(CreateError::NameTaken(name.clone()).into()));
            return self.try_again(revival, ctx);
        }
        let (reserved, started) = watch::channel(());
        if let Some(name) = &name {
            self.names.insert(name.clone(), Named::Starting(started.clone()));
        }
        self.starting.insert(id);
        self.restarts.under_way.insert(id, started);
        let (store, holder, log) = (self.store.clone(), self.holder.clone(), self.log.clone());
        let (profiles, ring_bytes) = (self.defaults.profiles.clone(), self.defaults.ring_bytes);
        let screens = self.screens.clone();
        let from = revival.row.session.status;
        let kept = revival.clone();
        let spawned = async move {
            let plan = plan_again(revival, &profiles, &screens, cause, &store, &log).await;
            spawn(plan, ring_bytes, &store, &holder, &log).await
        };
        ctx.spawn(spawned.into_actor(self).map(move |spawned, registry, ctx| {
            registry.started(id);
            registry.restarts.under_way.remove(&id);
            if let Some(name) = &name {
                registry.names.remove(name);
            }
            match spawned {
                Ok(Spawned { row, held, life }) => {
                    let restarted = json!({ "from": from, "status": row.session.status,
                        "reason": Reason::Restarted.as_str(), "active_connections": 0 });
                    registry.events.tell(Kind::Status, &row.session, Utc::now(), restarted);
                    registry.metrics.restarts.inc();
                    let session = registry.admit(row, held, life, Arrival::Spawned, ctx);
                    registry.answer(id, &Ok(session));
                }
                Err(Unstarted { error, row }) => {
                    warn!(registry.log, "a session could not be started again";
                        "session" => %id, "error" => %error);
                    match row {
                        // Its policy may try it again, later each time.
                        Some(row) => {
                            registry.publish_ended(&row.session);
                            if let Some(revival) = Revival::of(&row, kept.saved) {
                                registry.await_restart(revival, true, ctx);
                            }
                        }
                        None => registry.try_again(kept, ctx),
                    }
                    registry.answer(id, &Err(error.into()));
                }
            }
            drop(reserved);
        }));
    }

    /// What was not asked for by somebody who has been told is tried again.
    fn try_again(&mut self, mut revival: Revival, ctx: &mut Context<Self>) {
        if revival.row.restart_streak > 0 {
            let after = TimeDelta::from_std(RETRY).unwrap_or_default();
            revival.row.session.restart_at = Some(Utc::now() + after);
            self.await_restart(revival, true, ctx);
        } else {
            self.stay_ended(revival.row);
        }
    }

    /// It will not be started again.
    fn stay_ended(&mut self, mut row: Row) -> View {
        let id = row.session.id;
        self.names.retain(|_, named| !named.is_of(id));
        let restarts = row.session.restart_at.take().is_some();
        self.publish_ended(&row.session);
        if restarts {
            self.store.save(Change { row: row.clone(), transition: None });
        }
        row.session
    }

    /// Everything that has ended stays so.
    pub(super) fn restart_none(&mut self) {
        for (_, pending) in std::mem::take(&mut self.restarts.pending) {
            self.stay_ended(pending.revival.row);
        }
    }

    /// It ended by itself when somebody asked for its restart.
    fn restart_after_end(&mut self, id: SessionId, asked: bool, ctx: &mut Context<Self>) {
        if !asked {
            return;
        }
        let store = self.store.clone();
        let row = async move { store.get(id).await };
        ctx.spawn(row.into_actor(self).map(move |row, registry, ctx| match row {
            Ok(Some(row)) if row.session.end_reason == Some(EndReason::Killed) => {
                registry.answer(id, &Err(RestartError::Ending));
            }
            Ok(Some(row)) => registry.begin_again(row, ctx),
            Ok(None) => registry.answer(id, &Err(RestartError::Unknown)),
            Err(error) => registry.answer(id, &Err(CreateError::Store(error).into())),
        }));
    }

    /// Has an ended session started at once.
    fn begin_again(&mut self, mut row: Row, ctx: &mut Context<Self>) {
        let id = row.session.id;
        row.session.restart_at = Some(Utc::now());
        row.restart_streak = 0;
        self.publish_ended(&row.session);
        let held = self.ended.is_held(id);
        self.await_restart(Revival { row, saved: None }, !held, ctx);
        self.release_ended(id, ctx);
    }

    /// Whether an ended session is to be started again, or somebody waits for that.
    pub(super) fn starts_again(&mut self, id: SessionId) -> bool {
        self.restarts.pending.contains_key(&id) || self.restarts.is_asked_for(id)
    }

    fn answer(&mut self, id: SessionId, restarted: &Restarted) {
        for waiting in self.restarts.waiting.remove(&id).unwrap_or_default().tell {
            // Whoever asked may have gone.
            let _ = waiting.send(restarted.clone());
        }
    }

    fn wait_for(
        &mut self,
        id: SessionId,
        cause: Option<Cause>,
    ) -> impl Future<Output = Restarted> + use<> {
        let (tell, told) = oneshot::channel();
        let waiting = self.restarts.waiting.entry(id).or_default();
        waiting.cause = cause;
        waiting.tell.push(tell);
        async move { told.await.unwrap_or(Err(RestartError::Create(CreateError::Stopping))) }
    }

    fn restart(
        &mut self,
        restart: Restart,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Restarted> {
        if self.stopping {
            return Box::pin(actix::fut::ready(Err(CreateError::Stopping.into())));
        }
        match self.place(&restart.key) {
            Place::Live(session) => {
                let Restart { cause, expected, .. } = restart;
                let id = session.link.id();
                let restarted = self.wait_for(id, cause.clone());
                let ended = session.addr.send(StopForRestart { cause, expected });
                Box::pin(ended.into_actor(self).then(move |ended, registry, _| {
                    let refused = match ended {
                        Ok(Err(NotDone::Changed(session))) => RestartError::Changed(session),
                        // The registry hears of the end before this.
                        Ok(_) => return restarted.into_actor(registry).boxed_local(),
                        Err(_) => CreateError::Stopping.into(),
                    };
                    actix::fut::ready(Err(refused)).boxed_local()
                }))
            }
            Place::Pending(id) => {
                if let Err(changed) = self.expect(id, restart.expected.as_ref()) {
                    return Box::pin(actix::fut::ready(Err(changed)));
                }
                let restarted = self.wait_for(id, restart.cause);
                if self.restarts.pending.get(&id).is_some_and(|pending| pending.forgotten) {
                    self.may_restart(id, ctx);
                }
                Box::pin(restarted.into_actor(self))
            }
            Place::Starting(started) => {
                let over = over(started).into_actor(self);
                Box::pin(over.then(move |(), registry, ctx| match registry.find(&restart.key) {
                    Ok(session) => Box::pin(actix::fut::ready(Ok(session))),
                    // It could not be started: this is another attempt.
                    Err(_) => registry.restart(restart, ctx),
                }))
            }
            Place::Nowhere => {
                let Key::Id(id) = restart.key else {
                    return Box::pin(actix::fut::ready(Err(RestartError::Unknown)));
                };
                let store = self.store.clone();
                let row = async move { store.get(id).await };
                Box::pin(row.into_actor(self).then(move |row, registry, ctx| match row {
                    Ok(Some(row)) => registry.restart_ended(row, restart, ctx),
                    Ok(None) => Box::pin(actix::fut::ready(Err(RestartError::Unknown))),
                    Err(error) => {
                        Box::pin(actix::fut::ready(Err(CreateError::Store(error).into())))
                    }
                }))
            }
        }
    }

    fn expect(&self, id: SessionId, expected: Option<&Expected>) -> Result<(), RestartError> {
        let session = self.restarts.pending.get(&id).map(|pending| &pending.revival.row.session);
        match (session, expected) {
            (Some(session), Some(expected)) if !expected.holds(session) => {
                Err(RestartError::Changed(Box::new(session.clone())))
            }
            _ => Ok(()),
        }
    }

    fn restart_ended(
        &mut self,
        row: Row,
        restart: Restart,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Restarted> {
        let id = row.session.id;
        let refused = |error: RestartError| -> ResponseActFuture<Self, Restarted> {
            Box::pin(actix::fut::ready(Err(error)))
        };
        // It may have come back, or be about to, while its row was read.
        if !matches!(self.place(&Key::Id(id)), Place::Nowhere) {
            return self.restart(restart, ctx);
        }
        // The holder would answer with what has ended.
        if self.is_unsettled(id) {
            let settled = self.when_settled().into_actor(self);
            return Box::pin(settled.then(move |(), registry, ctx| registry.restart(restart, ctx)));
        }
        if row.session.status.is_live() {
            // Ended a moment ago, or lost: its record is still to be written.
            return refused(CreateError::Stopping.into());
        }
        if let Some(name) = &row.session.name
            && self.names.contains_key(name)
        {
            return refused(CreateError::NameTaken(name.clone()).into());
        }
        if let Some(expected) = &restart.expected
            && !expected.holds(&row.session)
        {
            return refused(RestartError::Changed(Box::new(row.session)));
        }
        let restarted = self.wait_for(id, restart.cause);
        self.begin_again(row, ctx);
        Box::pin(restarted.into_actor(self))
    }
}

impl Handler<Restart> for Registry {
    type Result = ResponseActFuture<Self, Restarted>;

    fn handle(&mut self, restart: Restart, _: &mut Self::Context) -> Self::Result {
        let restored = self.when_restored().into_actor(self);
        Box::pin(restored.then(move |(), registry, ctx| registry.restart(restart, ctx)))
    }
}

impl Handler<CancelRestart> for Registry {
    type Result = MessageResult<CancelRestart>;

    fn handle(&mut self, stay: CancelRestart, ctx: &mut Self::Context) -> Self::Result {
        let CancelRestart { session: id, purged } = stay;
        let mut pending = self.restarts.pending.remove(&id);
        if let Some(timer) = pending.as_mut().and_then(|pending| pending.timer.take()) {
            ctx.cancel_future(timer);
        }
        if purged {
            self.ended.drop_output(id);
            self.expire_ended(ctx);
        }
        self.answer(id, &Err(RestartError::Ending));
        MessageResult(pending.map(|pending| self.stay_ended(pending.revival.row)))
    }
}
