//! Changing a session: the registry keeps the names apart, the session's actor decides.

use super::create::CreateError;
use super::names::Owner;
use super::requests::{Key, Rename, RenameError, SessionRef};
use super::table::{Registry, ready};
use crate::id::SessionId;
use crate::protocol::{Session as View, check_labels, check_name, check_timeout};
use crate::session::Patch;
use actix::prelude::*;

pub(super) fn rename(
    registry: &mut Registry,
    request: Rename,
) -> ResponseActFuture<Registry, Result<View, RenameError>> {
    let Rename { session: id, patch } = request;
    let session = match check_patch(registry, id, &patch) {
        Ok(session) => session,
        Err(error) => return ready(Err(error)),
    };
    let wanted = patch.name.clone().flatten();
    if let Some(name) = &wanted {
        registry.names.begin_rename(name, id);
    }
    let changed = session.addr.send(patch);
    Box::pin(changed.into_actor(registry).map(move |changed, registry, _| {
        registry.names.end_rename(wanted.as_deref(), id);
        // It may have ended meanwhile; one that is to be started again keeps its name.
        let live = registry.sessions.get(&id).map(|session| session.handle.view().name);
        let pending = || registry.restarts.view(id).map(|view| view.name.clone());
        if let Some(name) = live.or_else(pending) {
            registry.names.set(id, name.as_deref());
        }
        changed.map_err(|_| RenameError::Ended)?.map_err(RenameError::from)
    }))
}

fn check_patch(
    registry: &Registry,
    id: SessionId,
    patch: &Patch,
) -> Result<SessionRef, RenameError> {
    if let Some(Some(name)) = &patch.name {
        check_name(name).map_err(CreateError::Invalid)?;
        match registry.names.owner(name) {
            Some(Owner::Session(owner)) if *owner == id => {}
            Some(_) => return Err(CreateError::NameTaken(name.clone()).into()),
            None => {}
        }
    }
    if let Some(labels) = &patch.labels {
        check_labels(labels).map_err(CreateError::Invalid)?;
    }
    check_timeout("idle_timeout_s", patch.idle_timeout_s.flatten())
        .map_err(CreateError::Invalid)?;
    registry.find(&Key::Id(id)).map_err(|_| RenameError::Ended)
}
