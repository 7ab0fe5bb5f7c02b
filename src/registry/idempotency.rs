//! Creating once what is asked for twice: a client that has heard no answer asks again with
//! the same `Idempotency-Key` and gets the session that its first request has made.

use super::actor::Registry;
use super::create::{CreateError, START};
use super::lookup::over;
use super::requests::{Answered, Create, Key};
use crate::holder::{Held, SpawnError};
use crate::lifecycle::EndReason;
use crate::store::{Once, Row, StoreError};
use actix::prelude::*;
use nix::errno::Errno;
use tokio::sync::watch;

/// A key whose session is being looked for or started.
pub(super) struct UnderWay {
    request: String,
    over: watch::Receiver<()>,
}

impl Registry {
    pub(super) fn create_once(&mut self, create: Create) -> ResponseActFuture<Self, Answered> {
        let Some(once) = create.once.clone() else { return self.create_anew(create) };
        if let Some(other) = self.under_way.get(&once.key) {
            if other.request != once.of.request {
                return Box::pin(actix::fut::ready(Answered::new(Err(CreateError::KeyReused))));
            }
            return Box::pin(
                over(other.over.clone())
                    .into_actor(self)
                    .then(move |(), registry, _| registry.create_once(create)),
            );
        }
        let (reserved, over) = watch::channel(());
        let under_way = UnderWay { request: once.of.request.clone(), over };
        self.under_way.insert(once.key.clone(), under_way);
        let key = once.key.clone();
        Box::pin(self.find_or_make(create, once).map(move |answered, registry, _| {
            registry.under_way.remove(&key);
            drop(reserved);
            answered
        }))
    }

    /// Looks for the session that this key has made; else makes it.
    fn find_or_make(&mut self, create: Create, once: Once) -> ResponseActFuture<Self, Answered> {
        let (store, key) = (self.store.clone(), once.key.clone());
        let found = async move {
            match store.by_key(key).await? {
                // Its server died before it could start or answer: nothing came of it.
                Some(row) if never_answered(&row) => {
                    store.release_key(row.session.id).await?;
                    Ok(None)
                }
                found => Ok::<_, StoreError>(found),
            }
        };
        let answered = found.into_actor(self).then(move |found, registry, _| match found {
            Ok(None) => registry.create_anew(create),
            // What became of it is not written yet.
            Ok(Some(row)) if registry.sweeping.contains(&row.session.id) => {
                let settled = registry.when_settled();
                Box::pin(
                    settled
                        .into_actor(registry)
                        .then(move |(), registry, _| registry.find_or_make(create, once)),
                )
            }
            Ok(Some(row)) => Box::pin(actix::fut::ready(registry.replay(row, &once.of.request))),
            Err(error) => {
                Box::pin(actix::fut::ready(Answered::new(Err(CreateError::Store(error)))))
            }
        });
        Box::pin(answered)
    }

    fn create_anew(&mut self, create: Create) -> ResponseActFuture<Self, Answered> {
        let created = self.create(create);
        Box::pin(created.map(|created, _, _| {
            Answered::new(created.map(|session| Box::new(session.link.view())))
        }))
    }

    /// The same answer again, with the session as it is now.
    fn replay(&self, row: Row, request: &str) -> Answered {
        let Row { session, once, .. } = row;
        let of = once.map(|once| once.of);
        if of.as_ref().is_none_or(|of| of.request != request) {
            return Answered::new(Err(CreateError::KeyReused));
        }
        let session = match self.find(&Key::Id(session.id)) {
            Ok(live) => Box::new(live.link.view()),
            Err(_) => Box::new(session),
        };
        // What has been started again meanwhile was started.
        let failed = of.and_then(|of| of.failed).filter(|_| session.restarts == 0);
        let result = match failed {
            None => Ok(session),
            Some((step, errno)) => Err(CreateError::spawn_failed(session, step, errno)),
        };
        Answered { result, replayed: true }
    }
}

fn never_answered(row: &Row) -> bool {
    row.session.end_reason == Some(EndReason::SpawnFailed)
        && row.session.restarts == 0
        && row.once.as_ref().is_none_or(|once| once.of.failed.is_none())
}

/// Keeps with the key what a start has failed of. Where it may work the next time the key is
/// free again.
pub(super) fn note_failure<E>(row: &mut Row, unstarted: &Result<Result<Held, SpawnError>, E>) {
    if row.session.restarts > 0 {
        return;
    }
    let failed = match unstarted {
        Ok(Err(SpawnError::Step { step, errno })) => Some((step.clone(), *errno)),
        Err(_) => Some((START.to_owned(), Errno::ETIMEDOUT as i32)),
        Ok(_) => None,
    };
    if failed.is_none() {
        row.once = None;
    }
    if let Some(once) = &mut row.once {
        once.of.failed = failed;
    }
}
