//! The registry's actor: what it does when it starts, and how it answers each message.

use super::afterlife::{
    await_restart, end_all, expire_ended, keep_ended, release_ended, restart, stay_ended,
    sweep_cgroups,
};
use super::clock::{self, Clock};
use super::create::CreateError;
use super::creation::{create_once, find_or_create};
use super::launch::check_no_id;
use super::recovery::{self, RestoreError, reconcile, restore};
use super::rename::rename as begin_rename;
use super::requests::{
    Abandon, Answered, CancelRestart, CountSessions, Counted, Create, Find, FindEnded, FindError,
    FindOrCreate, FoundOrCreated, KillAll, List, Mended, Ready, Reconcile, Rename, RenameError,
    Repairs, Restart, RestartError, SessionRef, ShutdownAll,
};
use super::restarts::Restarted;
use super::retention;
use super::table::{Registry, ready};
use crate::protocol::Session as View;
use crate::session::{Noticed, SessionEnded, Shutdown, now};
use actix::prelude::*;
use slog::warn;
use std::collections::HashSet;
use std::ops::Bound;
use std::time::Duration;

/// The interval at which ended sessions are checked for whether they were kept long enough.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(notices) = self.notices.take() {
            let (passed_on, fatal) =
                (self.listeners.clone().pass_on(notices, self.log.clone()), self.fatal.clone());
            // A task of its own: the registry's work delays no notice.
            actix_web::rt::spawn(async move {
                passed_on.await;
                // Its sessions are gone with it; starting again finds and says so.
                let _ = fatal.send("the holder is gone, and its sessions with it".to_owned());
            });
        }
        let mut clock = Clock::new(now());
        ctx.run_interval(clock::EVERY, move |registry, _| {
            if let Some(by) = clock.jump(now()) {
                warn!(registry.log, "the wall clock was set; deadlines stay when they are";
                    "by_ms" => by);
                for session in registry.sessions.values() {
                    session.addr.do_send(Noticed::ClockJumped);
                }
            }
        });
        ctx.run_interval(recovery::EVERY, |_, ctx| ctx.notify(Reconcile));
        ctx.run_interval(EXPIRE_EVERY, expire_ended);
        retention::start(self, ctx);
        let (sources, at) = (self.sources(), now());
        let found = async move {
            let found = recovery::find(&sources, at).await?;
            Ok::<_, RestoreError>((found, recovery::restarting(&sources).await?))
        };
        ctx.spawn(found.into_actor(self).map(move |found, registry, ctx| match found {
            Ok((found, again)) => restore(registry, found, again, at, ctx),
            Err(error) => {
                // Serving without knowing what runs would make doubles of it.
                registry.give_up(format!("cannot restore: {error}"));
            }
        }));
    }
}

impl Handler<Create> for Registry {
    type Result = ResponseActFuture<Self, Answered>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().then(move |(), registry, _| create_once(registry, create)))
    }
}

impl Handler<FindOrCreate> for Registry {
    type Result = ResponseActFuture<Self, Result<FoundOrCreated, CreateError>>;

    fn handle(&mut self, request: FindOrCreate, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored().then(move |(), registry, _| {
                find_or_create(registry, request.request, request.cause)
            }),
        )
    }
}

impl Handler<List> for Registry {
    type Result = ResponseActFuture<Self, Vec<View>>;

    fn handle(&mut self, list: List, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().map(move |(), registry, _| {
            let before = list.before.map_or(Bound::Unbounded, Bound::Excluded);
            let sessions = registry.sessions.range((Bound::Unbounded, before)).rev();
            let views = sessions.map(|(_, session)| session.handle.view());
            let live = views.filter(|view| (list.matches)(view)).take(list.most);
            let before = |view: &&View| list.before.is_none_or(|before| view.id < before);
            let wanted = |view: &&View| (list.matches)(view);
            let again = registry.restarts.views().filter(before).filter(wanted).cloned();
            let mut all: Vec<View> = live.chain(again).collect();
            all.sort_by_key(|view| std::cmp::Reverse(view.id));
            all.truncate(list.most);
            all
        }))
    }
}

impl Handler<Ready> for Registry {
    type Result = ResponseActFuture<Self, Repairs>;

    fn handle(&mut self, _: Ready, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored().map(|(), registry, _| registry.reconciliation.repairs().clone()),
        )
    }
}

impl Handler<CountSessions> for Registry {
    type Result = MessageResult<CountSessions>;

    fn handle(&mut self, _: CountSessions, _: &mut Self::Context) -> Self::Result {
        let mut counted =
            Counted { repairs: self.reconciliation.repairs().clone(), ..Counted::default() };
        for session in self.sessions.values() {
            *counted.sessions.entry(session.handle.status()).or_default() += 1;
        }
        MessageResult(counted)
    }
}

impl Handler<SessionEnded> for Registry {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, ctx: &mut Self::Context) {
        let SessionEnded { id, revival, complete } = ended;
        if let Some(session) = self.sessions.remove(&id) {
            keep_ended(self, session);
            match revival {
                Some(revival) => await_restart(self, *revival, false, ctx),
                None => {
                    self.names.release(id);
                }
            }
        }
        if complete {
            self.ended.complete(id);
            if self.restarts.is_wanted(id) {
                release_ended(self, id, ctx);
            }
        }
        expire_ended(self, ctx);
        sweep_cgroups(self);
    }
}

impl Handler<Abandon> for Registry {
    type Result = ();

    fn handle(&mut self, Abandon(id): Abandon, ctx: &mut Self::Context) {
        let over = |session: &SessionRef| !session.handle.status().is_live();
        if self.sessions.get(&id).is_some_and(over) {
            // It stayed because its end could not be written at first.
            if let Some(session) = self.sessions.remove(&id) {
                keep_ended(self, session);
            }
            self.names.release(id);
        }
        // A session that still completes its end is dismissed without waiting for that.
        self.ended.complete(id);
        self.ended.drop_output(id);
        expire_ended(self, ctx);
    }
}

impl Handler<FindEnded> for Registry {
    type Result = ResponseActFuture<Self, Option<SessionRef>>;

    fn handle(&mut self, FindEnded(id): FindEnded, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().map(move |(), registry, _| registry.ended.get(id).cloned()))
    }
}

impl Handler<KillAll> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: KillAll, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        Box::pin(self.when_restored().then(|(), registry, _| end_all(registry, HashSet::new())))
    }
}

impl Handler<ShutdownAll> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: ShutdownAll, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        // Clients of those that are kept since they ended know of the end.
        let all = self.sessions.values();
        let all: Vec<_> = all.map(|session| session.addr.send(Shutdown)).collect();
        Box::pin(async move {
            // A session that has just ended needs no telling.
            futures_util::future::join_all(all).await;
        })
    }
}

impl Handler<Find> for Registry {
    type Result = ResponseActFuture<Self, Result<SessionRef, FindError>>;

    fn handle(&mut self, find: Find, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().then(move |(), registry, _| registry.when_found(find.0)))
    }
}

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
            Ok(()) => begin_rename(registry, rename),
            Err(error) => ready(Err(error.into())),
        }))
    }
}

impl Handler<Restart> for Registry {
    type Result = ResponseActFuture<Self, Restarted>;

    fn handle(&mut self, request: Restart, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored().then(move |(), registry, ctx| restart(registry, request, ctx)),
        )
    }
}

impl Handler<CancelRestart> for Registry {
    type Result = MessageResult<CancelRestart>;

    fn handle(&mut self, cancel: CancelRestart, ctx: &mut Self::Context) -> Self::Result {
        let CancelRestart { session: id, purged } = cancel;
        let pending = self.restarts.cancel(id);
        if purged {
            self.ended.drop_output(id);
            expire_ended(self, ctx);
        }
        self.restarts.answer(id, &Err(RestartError::Ending));
        MessageResult(pending.map(|revival| stay_ended(self, revival.row)))
    }
}

impl Handler<Reconcile> for Registry {
    type Result = ResponseActFuture<Self, Vec<Mended>>;

    fn handle(&mut self, _: Reconcile, _: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return ready(Vec::new());
        }
        Box::pin(self.when_restored().then(|(), registry, _| {
            sweep_cgroups(registry);
            reconcile(registry)
        }))
    }
}
