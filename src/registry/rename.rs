//! Changing a session: the registry keeps the names apart, the session's actor decides.

use super::actor::{Named, Registry};
use super::create::{CreateError, check_labels};
use super::requests::{Key, Rename, RenameError, SessionRef};
use super::start::check_no_id;
use crate::id::SessionId;
use crate::protocol::{Session as View, check_name};
use crate::session::Patch;
use actix::prelude::*;

impl Handler<Rename> for Registry {
    type Result = ResponseActFuture<Self, Result<View, RenameError>>;

    fn handle(&mut self, rename: Rename, _: &mut Self::Context) -> Self::Result {
        let (store, name) = (self.store.clone(), rename.patch.name.clone().flatten());
        let checked = async move {
            match name {
                Some(name) => check_no_id(&name, &store).await,
                None => Ok(()),
            }
        };
        Box::pin(checked.into_actor(self).then(move |checked, registry, _| match checked {
            Ok(()) => registry.rename(rename),
            Err(error) => Box::pin(actix::fut::ready(Err(error.into()))),
        }))
    }
}

impl Registry {
    fn rename(&mut self, rename: Rename) -> ResponseActFuture<Self, Result<View, RenameError>> {
        let Rename { session: id, patch } = rename;
        let session = match self.check_patch(id, &patch) {
            Ok(session) => session,
            Err(error) => return Box::pin(actix::fut::ready(Err(error))),
        };
        // Nobody else gets the new name meanwhile, and the old one is kept: the session may
        // refuse.
        let new = patch.name.clone().flatten().filter(|name| !self.names.contains_key(name));
        if let Some(new) = &new {
            self.names.insert(new.clone(), Named::Renaming(id));
        }
        let changed = session.addr.send(patch);
        Box::pin(changed.into_actor(self).map(move |changed, registry, _| {
            registry.renamed(id, new.as_deref());
            changed.map_err(|_| RenameError::Ended)?.map_err(RenameError::from)
        }))
    }

    fn check_patch(&self, id: SessionId, patch: &Patch) -> Result<SessionRef, RenameError> {
        if let Some(Some(name)) = &patch.name {
            check_name(name).map_err(CreateError::Invalid)?;
            match self.names.get(name) {
                Some(Named::Live(owner)) if *owner == id => {}
                Some(_) => return Err(CreateError::NameTaken(name.clone()).into()),
                None => {}
            }
        }
        if let Some(labels) = &patch.labels {
            check_labels(labels).map_err(CreateError::Invalid)?;
        }
        self.find(&Key::Id(id)).map_err(|_| RenameError::Ended)
    }

    /// The session has the name that it says, and no other but those that it may get yet.
    fn renamed(&mut self, id: SessionId, new: Option<&str>) {
        if let Some(new) = new
            && matches!(self.names.get(new), Some(Named::Renaming(owner)) if *owner == id)
        {
            self.names.remove(new);
        }
        // It may have ended meanwhile; one that is to be started again keeps its name.
        let pending = || Some(self.restarts.pending.get(&id)?.revival.row.session.name.clone());
        let live = self.sessions.get(&id).map(|session| session.link.view().name);
        let Some(name) = live.or_else(pending) else { return };
        self.names.retain(|known, named| match named {
            Named::Live(owner) if *owner == id => Some(known) == name.as_ref(),
            _ => true,
        });
        if let Some(name) = name {
            self.names.entry(name).or_insert(Named::Live(id));
        }
    }
}
