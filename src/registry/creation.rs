//! Creating sessions: a name and a place reserved, the process spawned, the session listed.

use super::confine::confine;
use super::create::{CreateError, plan};
use super::idempotency::{self, Turn};
use super::launch::{Start, Unstarted, check_no_id, spawn};
use super::names::{Owner, closed};
use super::recovery::Sources;
use super::requests::{Answered, Create, FoundOrCreated, Key, SessionRef};
use super::table::{Registry, ready};
use crate::events::Kind;
use crate::protocol::{Cause, CreateSession};
use crate::session::Arrival;
use crate::store::{Once, Row};
use actix::prelude::*;
use nix::errno::Errno;
use serde_json::json;

pub(super) fn create_once(
    registry: &mut Registry,
    create: Create,
) -> ResponseActFuture<Registry, Answered> {
    let Some(once) = create.once.clone() else { return create_and_answer(registry, create) };
    match registry.keys.take(&once) {
        Turn::Reused => ready(Answered::new(Err(CreateError::KeyReused))),
        Turn::Wait(over) => {
            let over = closed(over).into_actor(registry);
            Box::pin(over.then(move |(), registry, _| create_once(registry, create)))
        }
        Turn::First(first) => {
            let key = once.key.clone();
            Box::pin(replay_or_create(registry, create, once).map(move |answered, registry, _| {
                registry.keys.release(&key);
                drop(first);
                answered
            }))
        }
    }
}

/// Answers with the session that this key has made; else makes it.
fn replay_or_create(
    registry: &mut Registry,
    create: Create,
    once: Once,
) -> ResponseActFuture<Registry, Answered> {
    let (store, key) = (registry.store.clone(), once.key.clone());
    let made = async move { idempotency::made_by(&store, key).await };
    Box::pin(made.into_actor(registry).then(move |made, registry, _| match made {
        Ok(None) => create_and_answer(registry, create),
        // Its end is not written yet.
        Ok(Some(row)) if registry.transit.is_swept(row.session.id) => {
            let settled = registry.transit.when_settled().into_actor(registry);
            Box::pin(settled.then(move |(), registry, _| replay_or_create(registry, create, once)))
        }
        Ok(Some(row)) => {
            let live = registry.find(&Key::Id(row.session.id)).ok();
            let live = live.map(|session| session.handle.view());
            ready(idempotency::replay(row, live, &once.of.request))
        }
        Err(error) => ready(Answered::new(Err(CreateError::Store(error)))),
    }))
}

fn create_and_answer(
    registry: &mut Registry,
    request: Create,
) -> ResponseActFuture<Registry, Answered> {
    let created = create(registry, request);
    Box::pin(
        created.map(|created, _, _| {
            Answered::new(created.map(|session| Box::new(session.handle.view())))
        }),
    )
}

pub(super) fn find_or_create(
    registry: &mut Registry,
    request: CreateSession,
    cause: Option<Cause>,
) -> ResponseActFuture<Registry, Result<FoundOrCreated, CreateError>> {
    let found = |session| FoundOrCreated { session, is_new: false };
    match request.name.as_ref().and_then(|name| registry.names.owner(name)) {
        None => {
            let created = create(registry, Create { request, cause, once: None });
            let is_new = |session| FoundOrCreated { session, is_new: true };
            Box::pin(created.map(move |created, _, _| created.map(is_new)))
        }
        Some(Owner::Session(id)) => {
            let session = registry.find(&Key::Id(*id)).map_err(|_| CreateError::Stopping);
            ready(session.map(found))
        }
        // The rename is not decided yet, unless the session has the name already.
        Some(Owner::Renaming(_)) => {
            let name = request.name.unwrap_or_default();
            let session = registry.find(&Key::Name(name.clone()));
            ready(session.map(found).map_err(|_| CreateError::NameTaken(name)))
        }
        Some(Owner::Starting(started)) => {
            let started = closed(started.clone()).into_actor(registry);
            Box::pin(started.then(move |(), registry, _| find_or_create(registry, request, cause)))
        }
    }
}

/// Reserves a name and a place, then starts the session.
pub(super) fn create(
    registry: &mut Registry,
    Create { request, cause, once }: Create,
) -> ResponseActFuture<Registry, Result<SessionRef, CreateError>> {
    let arrival =
        if request.awaits_client == Some(true) { Arrival::Awaited } else { Arrival::Spawned };
    if registry.stopping {
        return ready(Err(CreateError::Stopping));
    }
    let mut plan = match plan(request, &registry.defaults) {
        Ok(plan) => plan,
        Err(error) => return ready(Err(error)),
    };
    plan.row.once = once;
    plan.row.session.owner = cause.as_ref().map(|cause| cause.token.clone());
    plan.row.session.owner_token = cause.as_ref().and_then(|cause| cause.token_id);
    let (id, name) = (plan.row.session.id, plan.row.session.name.clone());
    if let Err(full) = registry.check_room(Some(&plan.row.session)) {
        return ready(Err(full));
    }
    if let Some(taken) = name.as_ref().filter(|name| registry.names.owner(name).is_some()) {
        return ready(Err(CreateError::NameTaken(taken.clone())));
    }
    let reserved = registry.begin_start(id, name.as_deref());
    let (sources, ring_bytes) = (registry.sources(), registry.defaults.ring_bytes);
    let spawned = async move {
        let Sources { store, holder, log } = sources;
        if let Some(name) = &plan.row.session.name {
            check_no_id(name, &store).await?;
        }
        confine(&mut plan, holder.keepers()).await?;
        match spawn(Start::of(plan, cause), ring_bytes, &store, &holder, &log).await {
            Err(Unstarted { error, row: Some(row) }) if is_mistyped(&error, &row) => {
                // If that fails, the row goes when its time has come.
                let _ = store.purge(id).await;
                Err(error.into())
            }
            spawned => spawned,
        }
    };
    Box::pin(spawned.into_actor(registry).map(move |spawned, registry, ctx| {
        registry.end_start(id, name.as_deref());
        let spawned = spawned.map_err(|Unstarted { error, .. }| error);
        let session = spawned.map(|(record, held)| {
            // Before whatever its actor tells.
            let session = &record.row.session;
            let created = json!({ "status": session.status });
            registry.events.tell(Kind::Created, session, session.created_at, created);
            registry.admit(record, held, arrival, ctx)
        });
        // Requests that wait for the name look again, now that it is listed or free.
        drop(reserved);
        session
    }))
}

/// Whether a start failed at a program or directory that does not exist: whoever asked is told, and
/// nobody looks for such a session later. With an `Idempotency-Key` the row is kept, because the answer
/// to a repetition comes from it.
fn is_mistyped(error: &CreateError, row: &Row) -> bool {
    let CreateError::SpawnFailed { step, errno, .. } = error else { return false };
    row.once.is_none() && ["exec", "chdir"].contains(&&**step) && *errno == Errno::ENOENT as i32
}
