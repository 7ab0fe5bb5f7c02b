//! Where a session is: it lives, is being started, or will be started again.

use super::actor::{Named, Registry};
use super::requests::{Find, FindError, Key, SessionRef};
use crate::id::SessionId;
use actix::prelude::*;
use tokio::sync::watch;

/// Where a session is, if it is known.
pub(super) enum Place {
    Live(SessionRef),
    Pending(SessionId),
    Starting(watch::Receiver<()>),
    Nowhere,
}

impl Registry {
    pub(super) fn place(&self, key: &Key) -> Place {
        if let Ok(session) = self.find(key) {
            return Place::Live(session);
        }
        let id = match key {
            Key::Id(id) => *id,
            Key::Name(name) => match self.names.get(name) {
                Some(Named::Live(id) | Named::Renaming(id)) => *id,
                Some(Named::Starting(started)) => return Place::Starting(started.clone()),
                None => return Place::Nowhere,
            },
        };
        if let Some(started) = self.restarts.under_way.get(&id) {
            return Place::Starting(started.clone());
        }
        let pending = self.restarts.pending.contains_key(&id);
        if pending { Place::Pending(id) } else { Place::Nowhere }
    }

    fn when_found(&mut self, key: Key) -> ResponseActFuture<Self, Result<SessionRef, FindError>> {
        let found = match self.place(&key) {
            Place::Live(session) => Ok(session),
            Place::Nowhere => Err(FindError::Unknown),
            Place::Pending(id) => {
                let pending = self.restarts.pending.get(&id);
                let view = pending.map(|pending| Box::new(pending.revival.row.session.clone()));
                Err(view.map_or(FindError::Unknown, FindError::Restarting))
            }
            Place::Starting(started) => {
                let over = over(started).into_actor(self);
                return Box::pin(over.then(move |(), registry, _| registry.when_found(key)));
            }
        };
        Box::pin(actix::fut::ready(found))
    }
}

/// Ends when whoever is at it drops the sender.
pub(super) async fn over(mut under_way: watch::Receiver<()>) {
    while under_way.changed().await.is_ok() {}
}

impl Handler<Find> for Registry {
    type Result = ResponseActFuture<Self, Result<SessionRef, FindError>>;

    fn handle(&mut self, find: Find, _: &mut Self::Context) -> Self::Result {
        let restored = self.when_restored().into_actor(self);
        Box::pin(restored.then(move |(), registry, _| registry.when_found(find.0)))
    }
}
