//! After a session's end: its output is kept for a while, the holder forgets it, and its command
//! is started again where that was asked for or its policy says so.

use super::confine::{confine_again, remove_cgroups};
use super::create::CreateError;
use super::ended::Gone;
use super::launch::{Unstarted, spawn};
use super::names::closed;
use super::recovery::Sources;
use super::requests::{Key, Restart, RestartError, SessionRef};
use super::restart_plan::plan_again;
use super::restarts::Restarted;
use super::table::{Place, Registry, ready};
use super::transit::Way;
use crate::config::Profile;
use crate::events::Kind;
use crate::holder::HolderError;
use crate::holder::wire::FailureCode;
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Reason};
use crate::protocol::{Cause, Session as View};
use crate::session::{Arrival, Dismiss, Kill, NotDone, Revival, StopForRestart, now};
use crate::store::{Change, Row};
use actix::prelude::*;
use chrono::Utc;
use serde_json::json;
use slog::warn;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// After how long a restart is tried again that the database, a limit or another session of
/// its name did not allow.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the output of a session that has ended.
pub(super) fn keep_ended(registry: &mut Registry, session: SessionRef) {
    let (ring, view) = (session.handle.ring(), session.handle.view());
    let bytes = ring.head() - ring.oldest();
    let age = Utc::now() - view.ended_at.unwrap_or_else(Utc::now);
    let now = Instant::now();
    let since = age.to_std().ok().and_then(|age| now.checked_sub(age)).unwrap_or(now);
    if let Some(before) = registry.ended.insert(view.id, session, since, bytes) {
        before.addr.do_send(Dismiss);
    }
}

/// Shows clients that come for the output of an ended session whether it will be started again.
fn publish_ended(registry: &Registry, session: &View) {
    if let Some(ended) = registry.ended.get(session.id) {
        ended.handle.publish(session);
    }
}

/// Has the holder forget an ended session as soon as that may be, so that it can be
/// started again.
pub(super) fn release_ended(registry: &mut Registry, id: SessionId, ctx: &mut Context<Registry>) {
    if registry.ended.release(id) {
        forget(registry, id, ctx);
    }
}

/// Lets go of ended sessions that have been kept for long enough.
pub(super) fn expire_ended(registry: &mut Registry, ctx: &mut Context<Registry>) {
    for Gone { id, session, held } in registry.ended.expire(Instant::now()) {
        session.addr.do_send(Dismiss);
        if held {
            forget(registry, id, ctx);
        }
    }
}

/// Has the holder forget a session: its id is free then.
pub(super) fn forget(registry: &mut Registry, id: SessionId, ctx: &mut Context<Registry>) {
    let holder = registry.holder.clone();
    let forget = async move { holder.forget(id).await };
    registry.transit.begin(Way::Leaving, id);
    ctx.spawn(forget.into_actor(registry).map(move |forgotten, registry, ctx| {
        registry.transit.end(Way::Leaving, id);
        match forgotten {
            Ok(()) | Err(HolderError::Refused { code: FailureCode::NotFound, .. }) => {
                restart_when_due(registry, id, ctx);
            }
            // Not yet reaped: a later pass of reconciliation tries again.
            Err(error) => {
                warn!(registry.log, "the holder did not forget"; "session" => %id,
                    "error" => %error);
            }
        }
    }));
}

/// Removes the cgroups of sessions that have ended, if any had one.
pub(super) fn sweep_cgroups(registry: &Registry) {
    let limited = |profile: &Profile| !profile.limits.controllers().is_empty();
    if !registry.defaults.profiles.values().any(limited) {
        return;
    }
    let again = registry.restarts.views().map(|session| session.id);
    let live = registry.sessions.keys().copied().chain(registry.transit.ids());
    let live: HashSet<SessionId> = live.chain(again).collect();
    let keepers = registry.holder.keepers();
    actix_web::rt::task::spawn_blocking(move || remove_cgroups(keepers, &live));
}

/// Lets an ended session wait, under its name, until its restart is due. `forgotten`: the holder
/// has nothing of what has ended.
pub(super) fn await_restart(
    registry: &mut Registry,
    revival: Revival,
    forgotten: bool,
    ctx: &mut Context<Registry>,
) {
    let id = revival.row.session.id;
    if let Some(name) = &revival.row.session.name {
        // At the start of the server a live session may have it.
        registry.names.claim_if_free(name, id);
    }
    registry.restarts.add(revival);
    if forgotten {
        restart_when_due(registry, id, ctx);
    }
}

/// The holder has nothing of a session any more: starts it when it is due.
fn restart_when_due(registry: &mut Registry, id: SessionId, ctx: &mut Context<Registry>) {
    match registry.restarts.forgotten(id, Utc::now()) {
        Some(left) => {
            ctx.run_later(left, move |registry, ctx| restart_due(registry, id, ctx));
        }
        None if registry.restarts.is_requested(id) => restart_after_end(registry, id, ctx),
        None => {}
    }
}

fn restart_due(registry: &mut Registry, id: SessionId, ctx: &mut Context<Registry>) {
    let Some((revival, cause)) = registry.restarts.take_due(id) else { return };
    if registry.stopping {
        // Its row says so to the next server.
        return registry.restarts.answer(id, &Err(CreateError::Stopping.into()));
    }
    if revival.is_overdue(now()) {
        stay_ended(registry, revival.row);
        return registry.restarts.answer(id, &Err(RestartError::Ending));
    }
    if let Err(full) = registry.check_room(None) {
        registry.restarts.answer(id, &Err(full.into()));
        return restart_later(registry, revival, ctx);
    }
    let name = revival.row.session.name.clone();
    if let Some(taken) = name.as_ref().filter(|name| !registry.names.belongs_to(name, id)) {
        registry.restarts.answer(id, &Err(CreateError::NameTaken(taken.clone()).into()));
        return restart_later(registry, revival, ctx);
    }
    let reserved = registry.begin_start(id, name.as_deref());
    registry.restarts.begin(id, reserved.subscribe());
    let (sources, screens) = (registry.sources(), registry.screens.clone());
    let defaults = registry.defaults.clone();
    let (ended, from) = (revival.clone(), revival.row.session.status);
    let spawned = async move {
        let Sources { store, holder, log } = sources;
        let mut start = plan_again(revival, &defaults, &screens, cause, &store, &log).await;
        confine_again(&mut start, &defaults.profiles, holder.keepers()).await?;
        spawn(start, defaults.ring_bytes, &store, &holder, &log).await
    };
    ctx.spawn(spawned.into_actor(registry).map(move |spawned, registry, ctx| {
        registry.end_start(id, name.as_deref());
        match spawned {
            Ok((record, held)) => {
                let session = &record.row.session;
                let restarted = json!({ "from": from, "status": session.status,
                    "reason": Reason::Restarted.as_str(), "active_connections": 0 });
                registry.events.tell(Kind::Status, session, Utc::now(), restarted);
                registry.metrics.restarts.inc();
                let session = registry.admit(record, held, Arrival::Spawned, ctx);
                registry.restarts.answer(id, &Ok(session));
            }
            Err(Unstarted { error, row }) => {
                warn!(registry.log, "a session could not be started again";
                    "session" => %id, "error" => %error);
                match row {
                    // Its policy may try it again, later each time.
                    Some(row) => {
                        publish_ended(registry, &row.session);
                        if let Some(revival) = Revival::of(&row, ended.saved) {
                            await_restart(registry, revival, true, ctx);
                        }
                    }
                    None => restart_later(registry, ended, ctx),
                }
                registry.restarts.answer(id, &Err(error.into()));
            }
        }
        drop(reserved);
    }));
}

/// Tries again what the policy asked for. A client's request has had its answer already.
fn restart_later(registry: &mut Registry, mut revival: Revival, ctx: &mut Context<Registry>) {
    if revival.postpone(RETRY, now()) {
        await_restart(registry, revival, true, ctx);
    } else {
        stay_ended(registry, revival.row);
    }
}

/// Gives up the restart of an ended session: its name is free, and its row says so.
pub(super) fn stay_ended(registry: &mut Registry, mut row: Row) -> View {
    registry.names.release(row.session.id);
    let restarts = row.session.restart_at.take().is_some();
    publish_ended(registry, &row.session);
    if restarts {
        registry.store.save(Change { row: row.clone(), transition: None });
    }
    row.session
}

/// Starts a session that had ended by itself before its requested restart ended it.
fn restart_after_end(registry: &mut Registry, id: SessionId, ctx: &mut Context<Registry>) {
    let store = registry.store.clone();
    let row = async move { store.get(id).await };
    ctx.spawn(row.into_actor(registry).map(move |row, registry, ctx| match row {
        Ok(Some(row)) if row.session.end_reason == Some(EndReason::Killed) => {
            registry.restarts.answer(id, &Err(RestartError::Ending));
        }
        Ok(Some(row)) => restart_now(registry, row, ctx),
        Ok(None) => registry.restarts.answer(id, &Err(RestartError::Unknown)),
        Err(error) => registry.restarts.answer(id, &Err(CreateError::Store(error).into())),
    }));
}

/// Has an ended session started at once.
fn restart_now(registry: &mut Registry, row: Row, ctx: &mut Context<Registry>) {
    let id = row.session.id;
    let revival = Revival::asked(row, now());
    publish_ended(registry, &revival.row.session);
    let held = registry.ended.is_held(id);
    await_restart(registry, revival, !held, ctx);
    release_ended(registry, id, ctx);
}

fn request_restart(
    registry: &mut Registry,
    id: SessionId,
    cause: Option<Cause>,
) -> ResponseFuture<Restarted> {
    let answered = registry.restarts.request(id, cause);
    let stopping = || Err(CreateError::Stopping.into());
    Box::pin(async move { answered.await.unwrap_or_else(|_| stopping()) })
}

pub(super) fn restart(
    registry: &mut Registry,
    request: Restart,
    ctx: &mut Context<Registry>,
) -> ResponseActFuture<Registry, Restarted> {
    if registry.stopping {
        return ready(Err(CreateError::Stopping.into()));
    }
    match registry.place(&request.key) {
        Place::Live(session) => {
            let Restart { cause, expected, .. } = request;
            let restarted = request_restart(registry, session.handle.id(), cause.clone());
            let ended = session.addr.send(StopForRestart { cause, expected });
            Box::pin(ended.into_actor(registry).then(move |ended, registry, _| match ended {
                Ok(Err(NotDone::Changed(session))) => ready(Err(RestartError::Changed(session))),
                // The registry hears of the end before this.
                Ok(_) => Box::pin(restarted.into_actor(registry)),
                Err(_) => ready(Err(CreateError::Stopping.into())),
            }))
        }
        Place::Pending(id) => {
            if let Err(changed) = registry.restarts.check(id, request.expected.as_ref()) {
                return ready(Err(changed));
            }
            let restarted = request_restart(registry, id, request.cause);
            if registry.restarts.is_forgotten(id) {
                restart_when_due(registry, id, ctx);
            }
            Box::pin(restarted.into_actor(registry))
        }
        Place::Starting(started) => {
            let started = closed(started).into_actor(registry);
            Box::pin(started.then(move |(), registry, ctx| {
                match registry.find(&request.key) {
                    Ok(session) => ready(Ok(session)),
                    // It could not be started: this is another attempt.
                    Err(_) => restart(registry, request, ctx),
                }
            }))
        }
        Place::Nowhere => {
            let Key::Id(id) = request.key else {
                return ready(Err(RestartError::Unknown));
            };
            let store = registry.store.clone();
            let row = async move { store.get(id).await };
            Box::pin(row.into_actor(registry).then(move |row, registry, ctx| match row {
                Ok(Some(row)) => restart_ended(registry, row, request, ctx),
                Ok(None) => ready(Err(RestartError::Unknown)),
                Err(error) => ready(Err(CreateError::Store(error).into())),
            }))
        }
    }
}

fn restart_ended(
    registry: &mut Registry,
    row: Row,
    request: Restart,
    ctx: &mut Context<Registry>,
) -> ResponseActFuture<Registry, Restarted> {
    let id = row.session.id;
    // It may have come back, or be about to, while its row was read.
    if !matches!(registry.place(&Key::Id(id)), Place::Nowhere) {
        return restart(registry, request, ctx);
    }
    // The holder would answer with what has ended.
    if registry.transit.contains(id) {
        let settled = registry.transit.when_settled().into_actor(registry);
        return Box::pin(settled.then(move |(), registry, ctx| restart(registry, request, ctx)));
    }
    if row.session.status.is_live() {
        // Ended a moment ago, or lost: its record is still to be written.
        return ready(Err(CreateError::Stopping.into()));
    }
    if let Some(taken) = &row.session.name
        && registry.names.owner(taken).is_some()
    {
        return ready(Err(CreateError::NameTaken(taken.clone()).into()));
    }
    if request.expected.is_some_and(|expected| !expected.holds(&row.session)) {
        return ready(Err(RestartError::Changed(Box::new(row.session))));
    }
    let restarted = request_restart(registry, id, request.cause);
    restart_now(registry, row, ctx);
    Box::pin(restarted.into_actor(registry))
}

/// Ends all sessions but those that were `told` already, and then those that were being
/// started or swept up meanwhile.
pub(super) fn end_all(
    registry: &mut Registry,
    mut told: HashSet<SessionId>,
) -> ResponseActFuture<Registry, ()> {
    for revival in registry.restarts.cancel_all() {
        stay_ended(registry, revival.row);
    }
    let untold = registry.sessions.iter().filter(|(id, _)| told.insert(**id));
    let ended: Vec<_> = untold
        .map(|(_, session)| session.addr.send(Kill { cause: None, expected: None }))
        .collect();
    let is_busy = registry.transit.is_busy();
    if ended.is_empty() && !is_busy {
        return ready(());
    }
    let settled = registry.transit.when_settled();
    let over = async move {
        // A session that has just ended answers with an error, which is fine.
        futures_util::future::join_all(ended).await;
        if is_busy {
            settled.await;
        }
    };
    Box::pin(over.into_actor(registry).then(move |(), registry, _| end_all(registry, told)))
}
