//! The names of sessions. A name is unique among the sessions that live, are being
//! started, or will be started again. Pure: the only place where the table changes.

use crate::id::SessionId;
use std::collections::HashMap;
use tokio::sync::watch;

/// The holder of a name.
pub(super) enum Owner {
    /// A session that is being started; the channel closes when that is over.
    Starting(watch::Receiver<()>),
    /// A session that lives or will be started again.
    Session(SessionId),
    /// A live session that may get this name: its actor has not decided yet.
    Renaming(SessionId),
}

/// The table of names.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Owner>);

impl Names {
    pub(super) fn owner(&self, name: &str) -> Option<&Owner> {
        self.0.get(name)
    }

    /// Whether this session has the name, or may get it.
    pub(super) fn belongs_to(&self, name: &str, session: SessionId) -> bool {
        let owner = self.owner(name);
        matches!(owner, Some(Owner::Session(id) | Owner::Renaming(id)) if *id == session)
    }

    /// Keeps a name for a session that is being started. The caller has checked that it is free,
    /// or the session's own.
    pub(super) fn reserve(&mut self, name: &str, started: watch::Receiver<()>) {
        self.0.insert(name.to_owned(), Owner::Starting(started));
    }

    /// The start that reserved a name is over: the name is free until its session claims it.
    pub(super) fn end_reservation(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// A session lives under this name.
    pub(super) fn claim(&mut self, name: &str, session: SessionId) {
        self.0.insert(name.to_owned(), Owner::Session(session));
    }

    /// An ended session waits under this name to be started again, unless another has it.
    pub(super) fn claim_if_free(&mut self, name: &str, session: SessionId) {
        self.0.entry(name.to_owned()).or_insert(Owner::Session(session));
    }

    /// Keeps a free name for a session that may get it. Its old name stays its own as well,
    /// since its actor may refuse.
    pub(super) fn begin_rename(&mut self, name: &str, session: SessionId) {
        self.0.entry(name.to_owned()).or_insert(Owner::Renaming(session));
    }

    /// A rename to `wanted` is decided.
    pub(super) fn end_rename(&mut self, wanted: Option<&str>, session: SessionId) {
        let is_kept = |name: &&str| matches!(self.owner(name), Some(Owner::Renaming(owner)) if *owner == session);
        if let Some(name) = wanted.filter(is_kept) {
            self.0.remove(name);
        }
    }

    /// A session has this name and no other, but those that it may yet get.
    pub(super) fn set(&mut self, session: SessionId, name: Option<&str>) {
        self.0.retain(|known, owner| match owner {
            Owner::Session(id) if *id == session => Some(known.as_str()) == name,
            _ => true,
        });
        if let Some(name) = name {
            self.claim_if_free(name, session);
        }
    }

    /// A session has ended for good: its names are free.
    pub(super) fn release(&mut self, session: SessionId) {
        self.0.retain(
            |_, owner| !matches!(owner, Owner::Session(id) | Owner::Renaming(id) if *id == session),
        );
    }
}

/// Resolves when the task that starts the session drops the sender.
pub(super) async fn closed(mut under_way: watch::Receiver<()>) {
    while under_way.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_keeps_both_names_until_it_is_decided() {
        let (mut names, id, other) =
            (Names::default(), SessionId::generate(), SessionId::generate());
        names.claim("old", id);
        names.begin_rename("new", id);
        assert!(names.belongs_to("old", id) && names.belongs_to("new", id));
        names.end_rename(Some("new"), id);
        names.set(id, Some("new"));
        assert!(names.owner("old").is_none() && names.belongs_to("new", id));
        // A name that another session has got meanwhile stays with that one.
        names.claim("third", other);
        names.begin_rename("third", id);
        names.end_rename(Some("third"), id);
        assert!(names.belongs_to("third", other));
        names.release(id);
        assert!(names.owner("new").is_none() && names.belongs_to("third", other));
    }

    #[test]
    fn a_session_that_will_be_started_again_takes_no_name_of_another() {
        let (mut names, id, other) =
            (Names::default(), SessionId::generate(), SessionId::generate());
        names.claim("web", other);
        names.claim_if_free("web", id);
        assert!(names.belongs_to("web", other) && !names.belongs_to("web", id));
        let (sender, started) = watch::channel(());
        names.reserve("job", started);
        assert!(matches!(names.owner("job"), Some(Owner::Starting(_))));
        names.end_reservation("job");
        assert!(names.owner("job").is_none());
        drop(sender);
    }
}
