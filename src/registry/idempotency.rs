//! Creating once what is asked for twice: a client that has heard no answer asks again with
//! the same `Idempotency-Key` and gets the session that its first request has made.

use super::create::{CreateError, START};
use super::requests::Answered;
use crate::holder::{Held, SpawnError};
use crate::lifecycle::EndReason;
use crate::protocol::Session as View;
use crate::store::{Once, Row, StoreError, StoreHandle};
use nix::errno::Errno;
use std::collections::HashMap;
use tokio::sync::watch;

/// Keys whose sessions are being looked for or started.
#[derive(Default)]
pub(super) struct KeysInUse(HashMap<String, InUse>);

struct InUse {
    /// The digest of the first request.
    request: String,
    over: watch::Receiver<()>,
}

/// The place of a request among those with the same key.
pub(super) enum Turn {
    /// The request is the first: the key is free again when this is dropped and the key released.
    First(watch::Sender<()>),
    /// Another request with the same key is under way: ask again when this channel closes.
    Wait(watch::Receiver<()>),
    /// Something else was asked for under this key.
    Reused,
}

impl KeysInUse {
    pub(super) fn take(&mut self, once: &Once) -> Turn {
        if let Some(other) = self.0.get(&once.key) {
            let is_same = other.request == once.of.request;
            return if is_same { Turn::Wait(other.over.clone()) } else { Turn::Reused };
        }
        let (first, over) = watch::channel(());
        let in_use = InUse { request: once.of.request.clone(), over };
        self.0.insert(once.key.clone(), in_use);
        Turn::First(first)
    }

    pub(super) fn release(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// The row of the session that a key has made.
pub(super) async fn made_by(store: &StoreHandle, key: String) -> Result<Option<Row>, StoreError> {
    match store.by_key(key).await? {
        // Its server died before it could start or answer: nothing came of it.
        Some(row) if never_answered(&row) => {
            store.release_key(row.session.id).await?;
            Ok(None)
        }
        found => Ok(found),
    }
}

/// The first request's answer again. `live`: the session as it is now, if it lives.
pub(super) fn replay(row: Row, live: Option<View>, request: &str) -> Answered {
    let Row { session, once, .. } = row;
    let of = once.map(|once| once.of);
    if of.as_ref().is_none_or(|of| of.request != request) {
        return Answered::new(Err(CreateError::KeyReused));
    }
    let session = Box::new(live.unwrap_or(session));
    // A session that has been started again meanwhile did start.
    let failed = of.and_then(|of| of.failed).filter(|_| session.restarts == 0);
    let result = match failed {
        None => Ok(session),
        Some((step, errno)) => Err(CreateError::spawn_failed(session, step, errno)),
    };
    Answered { result, replayed: true }
}

fn never_answered(row: &Row) -> bool {
    row.session.end_reason == Some(EndReason::SpawnFailed)
        && row.session.restarts == 0
        && row.once.as_ref().is_none_or(|once| once.of.failed.is_none())
}

/// Keeps with the key why a start has failed. Where it may work the next time the key is free
/// again.
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
