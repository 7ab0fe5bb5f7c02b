//! A session's beginning: its name reserved, its row written, its process spawned.

use super::actor::{Named, Registry, process_id, transition, transition_by};
use super::create::{CreateError, Plan, plan, refused, timed_out};
use super::once::note_failure;
use super::requests::{Create, Key, SessionRef};
use crate::events::Kind;
use crate::holder::wire::FailureCode;
use crate::holder::{Held, Holder, HolderError};
use crate::id::SessionId;
use crate::lifecycle::{Effect, Event, Life, Reason};
use crate::protocol::{Cause, CreateSession};
use crate::session::{Blob, now, write_life};
use crate::store::{Change, Row, StoreError, StoreHandle};
use actix::prelude::*;
use nix::sys::signal::Signal;
use serde_json::json;
use slog::{Logger, warn};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A directory or program on a file system that hangs takes for ever; a healthy one
/// milliseconds, also on a busy machine.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(10);
/// Between attempts to forget what was killed, and how many: an end has no event here.
const FORGET_RETRY: Duration = Duration::from_millis(100);
const FORGET_TRIES: u32 = 100;

pub(super) type Created = Result<SessionRef, CreateError>;

impl Registry {
    pub(super) fn find_or_create(
        &mut self,
        request: CreateSession,
        cause: Option<Cause>,
    ) -> ResponseActFuture<Self, Created> {
        match request.name.as_ref().and_then(|name| self.names.get(name)) {
            None => self.create(Create { request, cause, once: None }),
            Some(Named::Live(id) | Named::Renaming(id)) => {
                let session = self.find(&Key::Id(*id)).map_err(|_| CreateError::Stopping);
                Box::pin(actix::fut::ready(session))
            }
            Some(Named::Starting(started)) => {
                let mut started = started.clone();
                // Ends when whoever is starting it drops the sender.
                let over = async move { while started.changed().await.is_ok() {} };
                Box::pin(
                    over.into_actor(self)
                        .then(move |(), registry, _| registry.find_or_create(request, cause)),
                )
            }
        }
    }

    /// Reserves a name and a place, then starts the session.
    pub(super) fn create(&mut self, create: Create) -> ResponseActFuture<Self, Created> {
        let Create { request, cause, once } = create;
        let planned = self.reserve(request);
        let (mut plan, reserved) = match planned {
            Ok(planned) => planned,
            Err(error) => return Box::pin(actix::fut::ready(Err(error))),
        };
        plan.row.once = once;
        let (store, holder, log) = (self.store.clone(), self.holder.clone(), self.log.clone());
        let id = plan.row.session.id;
        let (name, ring_bytes) = (plan.row.session.name.clone(), self.defaults.ring_bytes);
        let spawned = async move { spawn(plan, cause, ring_bytes, &store, &holder, &log).await };
        Box::pin(spawned.into_actor(self).map(move |spawned, registry, ctx| {
            registry.starting.remove(&id);
            if let Some(name) = name {
                registry.names.remove(&name);
            }
            // Whoever waits for the name looks again once it is listed, or free.
            let session = spawned.map(|Spawned { row, held, life }| {
                // Before whatever its actor tells.
                let created = json!({ "status": row.session.status });
                registry.events.tell(Kind::Created, &row.session, row.session.created_at, created);
                registry.admit(row, held, life, false, ctx)
            });
            drop(reserved);
            session
        }))
    }

    fn reserve(
        &mut self,
        request: CreateSession,
    ) -> Result<(Plan, watch::Sender<()>), CreateError> {
        if self.stopping {
            return Err(CreateError::Stopping);
        }
        let plan = plan(request, &self.defaults)?;
        if self.sessions.len() + self.starting.len() >= self.defaults.max_sessions {
            let most = self.defaults.max_sessions;
            return Err(CreateError::TooMany(format!("there are {most} live sessions already")));
        }
        let (reserved, started) = watch::channel(());
        if let Some(name) = &plan.row.session.name {
            if self.names.contains_key(name) {
                return Err(CreateError::NameTaken(name.clone()));
            }
            self.names.insert(name.clone(), Named::Starting(started));
        }
        self.starting.insert(plan.row.session.id);
        Ok((plan, reserved))
    }
}

struct Spawned {
    row: Row,
    held: Held,
    life: (Life, Vec<Effect>),
}

/// Row, then process, then row again: a server that dies in between leaves a trace.
async fn spawn(
    plan: Plan,
    cause: Option<Cause>,
    ring_bytes: u64,
    store: &StoreHandle,
    holder: &Holder,
    log: &Logger,
) -> Result<Spawned, CreateError> {
    let Plan { mut row, spec, timeouts } = plan;
    let at = now();
    let (mut life, mut effects) = Life::new(timeouts, at);
    write_life(&mut row, &life);
    let (id, status) = (row.session.id, life.status());
    let created = transition_by(log, id, at, None, status, Reason::Created, cause);
    match store.commit(Change { row: row.clone(), transition: Some(created) }).await {
        Ok(()) => {}
        Err(StoreError::NameTaken(_)) => {
            return Err(CreateError::NameTaken(row.session.name.unwrap_or_default()));
        }
        Err(error) => return Err(CreateError::Store(error)),
    }
    let blob = Blob::of(&row, &life).to_bytes();
    let spawned = timeout(START_DEADLINE, holder.spawn(id, &spec, ring_bytes, &blob)).await;
    match spawned {
        Ok(Ok(held)) => {
            row.session.pid = Some(held.pid);
            row.process = Some(process_id(&held));
            let change = Change { row: row.clone(), transition: None };
            // Should it fail, the row is completed by whoever restores it.
            let _ = store.commit_or_queue(change).await;
            // The row of the creation is written.
            effects.retain(|effect| !matches!(effect, Effect::Record { .. } | Effect::Save));
            Ok(Spawned { row, held, life: (life, effects) })
        }
        unstarted => {
            let at = now();
            let from = life.status();
            // A session that was just created can fail to start.
            let _ = life.apply(Event::SpawnFailed, at);
            write_life(&mut row, &life);
            note_failure(&mut row, &unstarted);
            let reason = life.end().map_or(Reason::Created, |end| Reason::End(end.reason));
            let failed = transition(log, row.session.id, at, Some(from), life.status(), reason);
            let session = row.session.clone();
            let _ = store.commit_or_queue(Change { row, transition: Some(failed) }).await;
            Err(match unstarted {
                Ok(Err(error)) => refused(error, session),
                _ => {
                    actix_web::rt::spawn(give_up(holder.clone(), id, log.clone()));
                    timed_out(session)
                }
            })
        }
    }
}

/// Kills what does not start. What cannot even be killed is left to whoever restores.
async fn give_up(holder: Holder, id: SessionId, log: Logger) {
    // Refused only if it has ended by itself meanwhile.
    let _ = holder.signal(id, Signal::SIGKILL as i32).await;
    for _ in 0..FORGET_TRIES {
        match holder.forget(id).await {
            Err(HolderError::Refused { code: FailureCode::Live, .. }) => {
                tokio::time::sleep(FORGET_RETRY).await;
            }
            _ => return,
        }
    }
    warn!(log, "what did not start cannot be killed"; "session" => %id);
}
