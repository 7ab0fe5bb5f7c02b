//! The registry's actor.

use super::blob::Blob;
use super::create::{CreateError, Defaults, Plan, check_labels, check_name, plan, refused};
use super::restore::{self, Found};
use crate::holder::{Held, Holder, Notice};
use crate::id::SessionId;
use crate::lifecycle::{Effect, Event, Life, Now, Reason};
use crate::protocol::{CreateSession, Session as View};
use crate::session::{
    Link, Noticed, Patch, Session, SessionContext, SessionEnded, Shutdown, now, write_life,
};
use crate::store::{Change, NewTransition, Row, StoreError, StoreHandle};
use crate::tree::{self, Grace, ProcessId, Tree};
use actix::prelude::*;
use slog::{Logger, error, info, warn};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

/// How long the output of a session is kept that ended before anybody could attach, and
/// of how many sessions.
const UNREAD_KEPT: Duration = Duration::from_secs(10);
const UNREAD_MAX: usize = 64;

/// A live session: whom to ask, and what may be touched without asking.
#[derive(Clone)]
pub struct SessionRef {
    /// Its actor.
    pub addr: Addr<Session>,
    /// Its ring, input and view.
    pub link: Arc<Link>,
}

/// How a session is called.
#[derive(Clone, Debug)]
pub enum Key {
    /// By id.
    Id(SessionId),
    /// By the name of a live session.
    Name(String),
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Key::Name(text.to_owned()), Key::Id)
    }
}

/// Starts a session.
#[derive(Message)]
#[rtype(result = "Result<SessionRef, CreateError>")]
pub struct Create(pub CreateSession);

/// Finds a live session.
#[derive(Message)]
#[rtype(result = "Result<SessionRef, FindError>")]
pub struct Find(pub Key);

/// No live session is called that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no live session is called that")]
pub struct FindError;

/// Finds the live session of this name, or starts one. Of several that ask at once, one
/// starts it and the others get it too.
#[derive(Message)]
#[rtype(result = "Result<SessionRef, CreateError>")]
pub struct FindOrCreate(pub CreateSession);

/// All live sessions, oldest first.
#[derive(Message)]
#[rtype(result = "Vec<View>")]
pub struct List;

/// Changes a session; its name is unique among the live ones.
#[derive(Message)]
#[rtype(result = "Result<View, CreateError>")]
pub struct Rename {
    /// Which.
    pub session: SessionId,
    /// What to change.
    pub patch: Patch,
}

/// Answered once every session that could be restored is there.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ready;

/// The output of a session that ended a moment ago, before anybody could attach.
#[derive(Message)]
#[rtype(result = "Option<Arc<Link>>")]
pub struct Unread(pub SessionId);

/// Closes every client's connection and leaves the processes running.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ShutdownAll;

enum Named {
    Starting(watch::Receiver<()>),
    Live(SessionId),
}

/// Ids and names of the live sessions.
pub struct Registry {
    store: StoreHandle,
    holder: Holder,
    log: Logger,
    defaults: Defaults,
    notices: Option<UnboundedReceiver<Notice>>,
    sessions: HashMap<SessionId, SessionRef>,
    names: HashMap<String, Named>,
    unread: HashMap<SessionId, Arc<Link>>,
    starting: usize,
    restored: watch::Sender<bool>,
    stopping: bool,
}

impl Registry {
    /// A registry that restores what the store and the holder know as soon as it starts.
    #[must_use]
    pub fn new(
        store: StoreHandle,
        holder: Holder,
        notices: UnboundedReceiver<Notice>,
        defaults: Defaults,
        log: Logger,
    ) -> Self {
        Registry {
            store,
            holder,
            log,
            defaults,
            notices: Some(notices),
            sessions: HashMap::new(),
            names: HashMap::new(),
            unread: HashMap::new(),
            starting: 0,
            restored: watch::Sender::new(false),
            stopping: false,
        }
    }

    fn context(&self, ctx: &Context<Self>) -> SessionContext {
        SessionContext {
            store: self.store.clone(),
            holder: self.holder.clone(),
            registry: ctx.address().recipient(),
            log: self.log.clone(),
        }
    }

    fn find(&self, key: &Key) -> Result<SessionRef, FindError> {
        let named = |name: &str| match self.names.get(name) {
            Some(Named::Live(id)) => self.sessions.get(id),
            _ => None,
        };
        let session = match key {
            // A name may look like an id: clients of json.v1 make up such names.
            Key::Id(id) => self.sessions.get(id).or_else(|| named(&id.to_string())),
            Key::Name(name) => named(name),
        };
        session.cloned().ok_or(FindError)
    }

    /// Done once all that was running before is there.
    fn when_restored(&self) -> impl Future<Output = ()> + 'static {
        let mut restored = self.restored.subscribe();
        async move {
            // The sender lives as long as the registry.
            let _ = restored.wait_for(|restored| *restored).await;
        }
    }

    /// Makes the actor of a held session and lists it.
    fn admit(
        &mut self,
        row: Row,
        held: Held,
        life: (Life, Vec<Effect>),
        restored: bool,
        ctx: &Context<Self>,
    ) -> SessionRef {
        let (id, name) = (row.session.id, row.session.name.clone());
        let (holder, store) = (self.holder.clone(), self.store.clone());
        let link = Arc::new(Link::new(row.session.clone(), held.ring, held.wake, holder, store));
        let addr = Session::launch(self.context(ctx), link.clone(), life, row, restored);
        let session = SessionRef { addr, link };
        self.sessions.insert(id, session.clone());
        if let Some(name) = name {
            self.names.insert(name, Named::Live(id));
        }
        session
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(mut notices) = self.notices.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| notices.poll_recv(cx)));
        }
        let (store, holder, at) = (self.store.clone(), self.holder.clone(), now());
        let found = async move { restore::find(&store, &holder, at).await };
        ctx.spawn(found.into_actor(self).map(move |found, registry, ctx| match found {
            Ok(found) => registry.restore(found, at, ctx),
            Err(error) => {
                error!(registry.log, "cannot restore"; "error" => %error);
                // Serving without knowing what runs would make doubles of it.
                System::current().stop_with_code(1);
            }
        }));
    }
}

impl Registry {
    fn restore(&mut self, found: Vec<Found>, at: Now, ctx: &mut Context<Self>) {
        let (mut held_count, mut lost) = (0, 0);
        for found in found {
            match found {
                Found::Held { row, saved, held, unknown } => {
                    held_count += 1;
                    if !saved.status.is_live() {
                        // Ended and written; the server died before it could say so.
                        let (holder, id) = (self.holder.clone(), held.id);
                        ctx.spawn(async move { drop(holder.forget(id).await) }.into_actor(self));
                        continue;
                    }
                    if unknown {
                        warn!(self.log, "the holder holds a session without a row: adopted";
                            "session" => %held.id, "pid" => held.pid);
                        let (from, to) = (None, saved.status);
                        self.store.save(Change {
                            row: row.clone(),
                            transition: Some(transition(at, from, to, Reason::Created)),
                        });
                    }
                    let life = Life::restore(saved, at);
                    self.admit(row, held, life, true, ctx);
                }
                Found::Lost { row, saved } => {
                    lost += 1;
                    self.sweep(row, Life::restore(saved, at).0, Event::Orphaned, ctx);
                }
                Found::NeverStarted { row, saved } => {
                    lost += 1;
                    self.sweep(row, Life::restore(saved, at).0, Event::SpawnFailed, ctx);
                }
            }
        }
        info!(self.log, "restored"; "held" => held_count, "lost" => lost);
        self.restored.send_replace(true);
    }

    /// Ends what is left of a session that the holder does not hold, and says so in its row.
    fn sweep(&self, mut row: Row, mut life: Life, event: Event, ctx: &mut Context<Self>) {
        let tree = Tree {
            id: row.session.id,
            leader: row.process.clone(),
            holder: Some(self.holder.pid()),
        };
        let swept = actix_web::rt::task::spawn_blocking(move || tree.end(Grace::default()));
        ctx.spawn(swept.into_actor(self).map(move |_, registry, _| {
            let at = now();
            let effects = life.apply(event, at).or_else(|_| life.apply(Event::RestoreFailed, at));
            write_life(&mut row, &life);
            let recorded = effects.into_iter().flatten().find_map(|effect| match effect {
                Effect::Record { from, to, reason } => Some((from, to, reason)),
                _ => None,
            });
            if let Some((from, to, reason)) = recorded {
                warn!(registry.log, "transition"; "session" => %row.session.id,
                    "from" => from.map(|from| from.as_str()), "to" => to.as_str(),
                    "reason" => reason.as_str(), "connections" => 0);
                let transition = Some(transition(at, from, to, reason));
                registry.store.save(Change { row, transition });
            }
        }));
    }

    /// Reserves a name and a place, then starts the session.
    fn create(&mut self, request: CreateSession) -> ResponseActFuture<Self, Created> {
        let planned = self.reserve(request);
        let (plan, reserved) = match planned {
            Ok(planned) => planned,
            Err(error) => return Box::pin(actix::fut::ready(Err(error))),
        };
        let (store, holder) = (self.store.clone(), self.holder.clone());
        let (name, ring_bytes) = (plan.row.session.name.clone(), self.defaults.ring_bytes);
        let spawned = async move { spawn(plan, ring_bytes, &store, &holder).await };
        Box::pin(spawned.into_actor(self).map(move |spawned, registry, ctx| {
            registry.starting -= 1;
            if let Some(name) = name {
                registry.names.remove(&name);
            }
            // Whoever waits for the name looks again once it is listed, or free.
            let session = spawned
                .map(|spawned| registry.admit(spawned.row, spawned.held, spawned.life, false, ctx));
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
        if self.sessions.len() + self.starting >= self.defaults.max_sessions {
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
        self.starting += 1;
        Ok((plan, reserved))
    }
}

type Created = Result<SessionRef, CreateError>;

struct Spawned {
    row: Row,
    held: Held,
    life: (Life, Vec<Effect>),
}

/// Row, then process, then row again: a server that dies in between leaves a trace.
async fn spawn(
    plan: Plan,
    ring_bytes: u64,
    store: &StoreHandle,
    holder: &Holder,
) -> Result<Spawned, CreateError> {
    let Plan { mut row, spec, timeouts } = plan;
    let at = now();
    let (mut life, mut effects) = Life::new(timeouts, at);
    write_life(&mut row, &life);
    let created = transition(at, None, life.status(), Reason::Created);
    match store.commit(Change { row: row.clone(), transition: Some(created) }).await {
        Ok(()) => {}
        Err(StoreError::NameTaken(_)) => {
            return Err(CreateError::NameTaken(row.session.name.unwrap_or_default()));
        }
        Err(error) => return Err(CreateError::Store(error)),
    }
    let blob = Blob::of(&row, life.deadline()).to_bytes();
    match holder.spawn(row.session.id, &spec, ring_bytes, &blob).await {
        Ok(held) => {
            row.session.pid = Some(held.pid);
            row.process = Some(process_id(&held));
            let change = Change { row: row.clone(), transition: None };
            // Should it fail, the row is completed by whoever restores it.
            let _ = store.commit_or_queue(change).await;
            // The row of the creation is written.
            effects.retain(|effect| !matches!(effect, Effect::Record { .. } | Effect::Save));
            Ok(Spawned { row, held, life: (life, effects) })
        }
        Err(error) => {
            let at = now();
            let from = life.status();
            // A session that was just created can fail to start.
            let _ = life.apply(Event::SpawnFailed, at);
            write_life(&mut row, &life);
            let reason = life.end().map_or(Reason::Created, |end| Reason::End(end.reason));
            let failed = transition(at, Some(from), life.status(), reason);
            let session = row.session.clone();
            let _ = store.commit_or_queue(Change { row, transition: Some(failed) }).await;
            Err(refused(error, session))
        }
    }
}

fn process_id(held: &Held) -> ProcessId {
    let boot_id = tree::boot_id().unwrap_or_default();
    ProcessId { pid: held.pid, start_time: held.start_time, boot_id }
}

fn transition(
    at: Now,
    from: Option<crate::lifecycle::Status>,
    to: crate::lifecycle::Status,
    reason: Reason,
) -> NewTransition {
    NewTransition {
        at: at.wall,
        from,
        to,
        reason: reason.as_str().to_owned(),
        active_connections: 0,
    }
}

impl Handler<Create> for Registry {
    type Result = ResponseActFuture<Self, Created>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored()
                .into_actor(self)
                .then(move |(), registry, _| registry.create(create.0)),
        )
    }
}

impl Handler<FindOrCreate> for Registry {
    type Result = ResponseActFuture<Self, Created>;

    fn handle(&mut self, request: FindOrCreate, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored()
                .into_actor(self)
                .then(move |(), registry, _| registry.find_or_create(request.0)),
        )
    }
}

impl Registry {
    fn find_or_create(&mut self, request: CreateSession) -> ResponseActFuture<Self, Created> {
        match request.name.as_ref().and_then(|name| self.names.get(name)) {
            None => self.create(request),
            Some(Named::Live(id)) => {
                let session = self.find(&Key::Id(*id)).map_err(|_| CreateError::Stopping);
                Box::pin(actix::fut::ready(session))
            }
            Some(Named::Starting(started)) => {
                let mut started = started.clone();
                // Ends when whoever is starting it drops the sender.
                let over = async move { while started.changed().await.is_ok() {} };
                Box::pin(
                    over.into_actor(self)
                        .then(move |(), registry, _| registry.find_or_create(request)),
                )
            }
        }
    }
}

impl Handler<Find> for Registry {
    type Result = ResponseActFuture<Self, Result<SessionRef, FindError>>;

    fn handle(&mut self, find: Find, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored()
                .into_actor(self)
                .map(move |(), registry, _| registry.find(&find.0)),
        )
    }
}

impl Handler<List> for Registry {
    type Result = ResponseActFuture<Self, Vec<View>>;

    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().into_actor(self).map(|(), registry, _| {
            let mut all: Vec<_> =
                registry.sessions.values().map(|session| session.link.view()).collect();
            all.sort_by_key(|session| session.id);
            all
        }))
    }
}

impl Handler<Ready> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Ready, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored())
    }
}

impl Handler<Rename> for Registry {
    type Result = ResponseFuture<Result<View, CreateError>>;

    fn handle(
        &mut self,
        Rename { session: id, patch }: Rename,
        _: &mut Self::Context,
    ) -> Self::Result {
        let changed = self.check_patch(id, &patch).map(|session| {
            if let Some(name) = &patch.name {
                let old = session.link.view().name;
                self.names.retain(|known, _| Some(known) != old.as_ref());
                if let Some(name) = name {
                    self.names.insert(name.clone(), Named::Live(id));
                }
            }
            session.addr.send(patch)
        });
        Box::pin(async move {
            match changed?.await {
                Ok(Ok(view)) => Ok(view),
                Ok(Err(refused)) => Err(CreateError::Invalid(refused.to_string())),
                Err(_) => Err(CreateError::Stopping),
            }
        })
    }
}

impl Registry {
    fn check_patch(&self, id: SessionId, patch: &Patch) -> Result<SessionRef, CreateError> {
        if let Some(Some(name)) = &patch.name {
            check_name(name).map_err(CreateError::Invalid)?;
            match self.names.get(name) {
                Some(Named::Live(owner)) if *owner == id => {}
                Some(_) => return Err(CreateError::NameTaken(name.clone())),
                None => {}
            }
        }
        if let Some(labels) = &patch.labels {
            check_labels(labels).map_err(CreateError::Invalid)?;
        }
        self.find(&Key::Id(id)).map_err(|error| CreateError::Invalid(error.to_string()))
    }
}

impl Handler<SessionEnded> for Registry {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, ctx: &mut Self::Context) {
        if self.sessions.remove(&ended.id).is_none() {
            return;
        }
        if let Some(link) = ended.unread.filter(|_| self.unread.len() < UNREAD_MAX) {
            self.unread.insert(ended.id, link);
            ctx.run_later(UNREAD_KEPT, move |registry, _| {
                registry.unread.remove(&ended.id);
            });
        }
        self.names.retain(|_, named| !matches!(named, Named::Live(id) if *id == ended.id));
    }
}

impl Handler<Unread> for Registry {
    type Result = MessageResult<Unread>;

    fn handle(&mut self, Unread(id): Unread, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.unread.get(&id).cloned())
    }
}

impl Handler<ShutdownAll> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: ShutdownAll, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let all: Vec<_> =
            self.sessions.values().map(|session| session.addr.send(Shutdown)).collect();
        Box::pin(async move {
            // A session that has just ended needs no telling.
            futures_util::future::join_all(all).await;
        })
    }
}

impl StreamHandler<Notice> for Registry {
    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        let (id, noticed) = match notice {
            Notice::Output(id) => (id, Noticed::Output),
            Notice::Exited(id) => (id, Noticed::Exited),
            Notice::Gone => {
                // Its sessions are gone with it; starting again finds and says so.
                error!(self.log, "the holder is gone: stopping");
                return System::current().stop_with_code(1);
            }
        };
        if let Some(session) = self.sessions.get(&id) {
            session.addr.do_send(noticed);
        }
    }
}
