//! The registry's actor.

use super::clock::{self, Clock};
use super::compare::Difference;
use super::create::{CreateError, Defaults};
use super::discover::{self, RestoreError, Sources};
use super::ended::{Ended, Gone};
use super::idempotency::UnderWay;
use super::reconcile;
use super::requests::{
    Abandon, Answered, CountSessions, Counted, Create, FindEnded, FindError, FindOrCreate,
    FoundOrCreated, Key, KillAll, List, Ready, Reconcile, Repairs, SessionRef, ShutdownAll,
};
use super::restart::Restarts;
use super::restore::SWEEPS;
use crate::events::Bus;
use crate::holder::wire::FailureCode;
use crate::holder::{Held, Holder, HolderError, Notice};
use crate::id::SessionId;
use crate::lifecycle::{Effect, Lifecycle, Now, Reason, Status};
use crate::metrics::Metrics;
use crate::protocol::{Cause, Recording, Session as View};
use crate::recorder::{Recorder, Subject};
use crate::screen::Options;
use crate::screens::{Events, Origin, Screens};
use crate::session::{
    Arrival, Blob, Dismiss, Kill, Noticed, Seen, Session, SessionContext, SessionEnded,
    SessionHandle, Shutdown, now, write_life,
};
use crate::store::{NewTransition, Row, StoreHandle};
use crate::tree::{self, ProcessId};
use actix::prelude::*;
use chrono::Utc;
use slog::{Logger, info, warn};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// How often is looked for ended sessions that have been kept for long enough.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

pub(super) enum Named {
    Starting(watch::Receiver<()>),
    Live(SessionId),
    /// A live session may get this name.
    Renaming(SessionId),
}

impl Named {
    /// Whether this session, which lives or will be started again, has the name.
    pub(super) fn is_of(&self, session: SessionId) -> bool {
        matches!(self, Named::Live(id) | Named::Renaming(id) if *id == session)
    }
}

/// What the registry gives to its sessions.
pub struct Parts {
    /// Who writes state down.
    pub store: StoreHandle,
    /// Who holds the PTYs.
    pub holder: Holder,
    /// Who keeps the screens.
    pub screens: Screens,
    /// Who writes recordings.
    pub recorder: Recorder,
    /// Where is counted.
    pub metrics: Arc<Metrics>,
}

/// Ids and names of the live sessions.
pub struct Registry {
    pub(super) store: StoreHandle,
    pub(super) holder: Holder,
    pub(super) screens: Screens,
    pub(super) recorder: Recorder,
    pub(super) log: Logger,
    pub(super) defaults: Defaults,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Bus,
    pub(super) notices: Option<UnboundedReceiver<Notice>>,
    pub(super) sessions: BTreeMap<SessionId, SessionRef>,
    pub(super) names: HashMap<String, Named>,
    pub(super) ended: Ended<SessionRef>,
    pub(super) starting: HashSet<SessionId>,
    pub(super) restarts: Restarts,
    /// Idempotency keys that somebody is at.
    pub(super) under_way: HashMap<String, UnderWay>,
    /// Sessions that cannot go on, until their rows say so.
    pub(super) sweeping: HashSet<SessionId>,
    /// Ended sessions that the holder is being asked to forget, or that come back to `ended`.
    pub(super) leaving: HashSet<SessionId>,
    /// Told when one has been started, or is swept up or forgotten.
    pub(super) settled: watch::Sender<()>,
    pub(super) sweeps: Arc<Semaphore>,
    /// As the last comparison found them.
    pub(super) differences: BTreeMap<SessionId, Difference>,
    pub(super) repairs: Repairs,
    pub(super) restored: watch::Sender<bool>,
    /// Where to say that the server cannot go on, and why.
    pub(super) fatal: UnboundedSender<String>,
    pub(super) stopping: bool,
}

impl Registry {
    /// A registry that restores what the store and the holder know as soon as it starts.
    /// What it sends to `fatal` is why the server must end.
    #[must_use]
    pub fn new(
        Parts { store, holder, screens, recorder, metrics }: Parts,
        notices: UnboundedReceiver<Notice>,
        defaults: Defaults,
        fatal: UnboundedSender<String>,
        log: Logger,
    ) -> Self {
        let ended = Ended::new(defaults.retention);
        Registry {
            store,
            holder,
            screens,
            recorder,
            log,
            defaults,
            metrics,
            events: Bus::new(Utc::now()),
            notices: Some(notices),
            sessions: BTreeMap::new(),
            names: HashMap::new(),
            ended,
            starting: HashSet::new(),
            restarts: Restarts::default(),
            under_way: HashMap::new(),
            sweeping: HashSet::new(),
            leaving: HashSet::new(),
            settled: watch::Sender::new(()),
            sweeps: Arc::new(Semaphore::new(SWEEPS)),
            differences: BTreeMap::new(),
            repairs: Repairs::default(),
            restored: watch::Sender::new(false),
            fatal,
            stopping: false,
        }
    }

    /// Where what happens to the sessions is told.
    #[must_use]
    pub fn events(&self) -> Bus {
        self.events.clone()
    }

    fn context(&self, ctx: &Context<Self>) -> SessionContext {
        SessionContext {
            store: self.store.clone(),
            holder: self.holder.clone(),
            registry: ctx.address().recipient(),
            log: self.log.clone(),
            events: self.events.clone(),
            quiet_after: (self.defaults.quiet_s > 0)
                .then(|| Duration::from_secs(self.defaults.quiet_s)),
        }
    }

    pub(super) fn sources(&self) -> Sources {
        let (store, holder) = (self.store.clone(), self.holder.clone());
        Sources { store, holder, log: self.log.clone() }
    }

    /// Ends the server; whoever starts it again finds what is left.
    fn give_up(&self, why: String) {
        // Nobody listens any more if it is stopping already.
        let _ = self.fatal.send(why);
    }

    pub(super) fn find(&self, key: &Key) -> Result<SessionRef, FindError> {
        let named = |name: &str| match self.names.get(name) {
            Some(Named::Live(id)) => self.sessions.get(id),
            // The session may have it, and the answer be on its way.
            Some(Named::Renaming(id)) => self
                .sessions
                .get(id)
                .filter(|session| session.link.view().name.as_deref() == Some(name)),
            _ => None,
        };
        let session = match key {
            Key::Id(id) => self.sessions.get(id),
            Key::Name(name) => named(name),
        };
        session.cloned().ok_or(FindError::Unknown)
    }

    /// What a held session's screen starts from.
    pub(super) fn origin(&self, held: &mut Held, restored: bool, events: Events) -> Origin {
        Origin {
            id: held.id,
            ring: held.ring.clone(),
            size: (held.cols, held.rows),
            checkpoint: held.checkpoint.take(),
            restored,
            options: Options { scrollback: self.defaults.scrollback_lines },
            events,
        }
    }

    /// Between two states, of which the holder, the rows and this registry learn one after
    /// the other.
    pub(super) fn is_unsettled(&self, id: SessionId) -> bool {
        self.starting.contains(&id) || self.sweeping.contains(&id) || self.leaving.contains(&id)
    }

    /// Done once one of those has been started, swept up or forgotten from now on.
    pub(super) fn when_settled(&self) -> impl Future<Output = ()> + 'static {
        let mut settled = self.settled.subscribe();
        async move { drop(settled.changed().await) }
    }

    /// The holder has nothing of a session any more, or will not let it go.
    pub(super) fn left(&mut self, id: SessionId) {
        self.leaving.remove(&id);
        self.settled.send_replace(());
    }

    /// A start is over, one way or the other.
    pub(super) fn started(&mut self, id: SessionId) {
        self.starting.remove(&id);
        self.settled.send_replace(());
    }

    /// Ends all sessions but those that were `told` already, and then those that were being
    /// started or swept up meanwhile.
    fn end_all(&mut self, mut told: HashSet<SessionId>) -> ResponseActFuture<Self, ()> {
        self.restart_none();
        let untold = self.sessions.iter().filter(|(id, _)| told.insert(**id));
        let ended: Vec<_> = untold
            .map(|(_, session)| session.addr.send(Kill { cause: None, expected: None }))
            .collect();
        let is_busy = !self.starting.is_empty() || !self.sweeping.is_empty();
        if ended.is_empty() && !is_busy {
            return Box::pin(actix::fut::ready(()));
        }
        let settled = self.when_settled();
        let over = async move {
            // One that has just ended needs no killing.
            futures_util::future::join_all(ended).await;
            if is_busy {
                settled.await;
            }
        };
        Box::pin(over.into_actor(self).then(move |(), registry, _| registry.end_all(told)))
    }

    /// Done once all that was running before is there.
    pub(super) fn when_restored(&self) -> impl Future<Output = ()> + 'static {
        let mut restored = self.restored.subscribe();
        async move {
            // The sender lives as long as the registry.
            let _ = restored.wait_for(|restored| *restored).await;
        }
    }

    /// Makes the actor of a held session and lists it.
    pub(super) fn admit(
        &mut self,
        row: Row,
        held: Held,
        life: (Lifecycle, Vec<Effect>),
        arrival: Arrival,
        ctx: &Context<Self>,
    ) -> SessionRef {
        let (id, name) = (row.session.id, row.session.name.clone());
        let session = self.launch(row, held, life, arrival, ctx);
        self.sessions.insert(id, session.clone());
        if let Some(name) = name {
            self.names.insert(name, Named::Live(id));
        }
        session
    }

    /// Makes the actor of a held session.
    pub(super) fn launch(
        &self,
        row: Row,
        mut held: Held,
        life: (Lifecycle, Vec<Effect>),
        arrival: Arrival,
        ctx: &Context<Self>,
    ) -> SessionRef {
        let (id, name) = (row.session.id, row.session.name.clone());
        let (holder, store) = (self.holder.clone(), self.store.clone());
        // Its address is needed for its screen, and its screen for what makes it.
        let session = Context::<Session>::new();
        let heard = session.address();
        let told = Box::new(move |told| heard.do_send(Seen(told)));
        let screen = self.screens.keep(self.origin(&mut held, arrival == Arrival::Restored, told));
        // Who asks before the session's actor has run sees what it will say, not the last row.
        let mut shown = row.clone();
        write_life(&mut shown, &life.0);
        let what = row.session.recording;
        let recorded = (what != Recording::Off).then(|| {
            self.recorder.record(Subject {
                id,
                name: name.clone(),
                what,
                ring: held.ring.clone(),
                holder: holder.clone(),
                size: (held.cols, held.rows),
                looker: screen.looker(),
            })
        });
        let metrics = self.metrics.clone();
        let link =
            SessionHandle::new(shown.session, held.ring, held.wake, holder, store, screen, metrics);
        let link = Arc::new(link.recorded(recorded));
        let causes = Blob::from_bytes(&held.blob).map(|blob| blob.causes).unwrap_or_default();
        let addr =
            Session::launch(session, self.context(ctx), link.clone(), life, row, causes, arrival);
        SessionRef { addr, link }
    }

    /// Keeps the output of a session that has ended.
    pub(super) fn keep_ended(&mut self, session: SessionRef) {
        let (ring, view) = (session.link.ring(), session.link.view());
        let bytes = (ring.head() - ring.base()).min(ring.capacity());
        let age = Utc::now() - view.ended_at.unwrap_or_else(Utc::now);
        let now = Instant::now();
        let since = age.to_std().ok().and_then(|age| now.checked_sub(age)).unwrap_or(now);
        if let Some(before) = self.ended.insert(view.id, session, since, bytes) {
            before.addr.do_send(Dismiss);
        }
    }

    /// Whoever comes for the output of an ended session learns whether it goes on.
    pub(super) fn publish_ended(&self, session: &View) {
        if let Some(ended) = self.ended.get(session.id) {
            ended.link.publish(session);
        }
    }

    /// Has the holder forget an ended session as soon as that may be, so that it can be
    /// started again.
    pub(super) fn release_ended(&mut self, id: SessionId, ctx: &mut Context<Self>) {
        if self.ended.release(id) {
            self.forget(id, ctx);
        }
    }

    /// Lets go of ended sessions that have been kept for long enough.
    pub(super) fn expire_ended(&mut self, ctx: &mut Context<Self>) {
        for Gone { id, session, held } in self.ended.expire(Instant::now()) {
            session.addr.do_send(Dismiss);
            if held {
                self.forget(id, ctx);
            }
        }
    }

    /// Has the holder forget a session: its id is free then.
    pub(super) fn forget(&mut self, id: SessionId, ctx: &mut Context<Self>) {
        let holder = self.holder.clone();
        let forget = async move { holder.forget(id).await };
        self.leaving.insert(id);
        ctx.spawn(forget.into_actor(self).map(move |forgotten, registry, ctx| {
            registry.left(id);
            match forgotten {
                Ok(()) | Err(HolderError::Refused { code: FailureCode::NotFound, .. }) => {
                    registry.may_restart(id, ctx);
                }
                // Not yet reaped: a later pass of reconciliation tries again.
                Err(error) => {
                    warn!(registry.log, "the holder did not forget"; "session" => %id,
                        "error" => %error);
                }
            }
        }));
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(mut notices) = self.notices.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| notices.poll_recv(cx)));
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
        ctx.run_interval(reconcile::EVERY, |_, ctx| ctx.notify(Reconcile));
        ctx.run_interval(EXPIRE_EVERY, |registry, ctx| registry.expire_ended(ctx));
        self.begin_retention(ctx);
        let (sources, at) = (self.sources(), now());
        let found = async move {
            let found = discover::find(&sources, at).await?;
            Ok::<_, RestoreError>((found, discover::restarting(&sources).await?))
        };
        ctx.spawn(found.into_actor(self).map(move |found, registry, ctx| match found {
            Ok((found, again)) => registry.restore(found, again, at, ctx),
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
        Box::pin(
            self.when_restored()
                .into_actor(self)
                .then(move |(), registry, _| registry.create_once(create)),
        )
    }
}

impl Handler<FindOrCreate> for Registry {
    type Result = ResponseActFuture<Self, Result<FoundOrCreated, CreateError>>;

    fn handle(&mut self, request: FindOrCreate, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            self.when_restored().into_actor(self).then(move |(), registry, _| {
                registry.find_or_create(request.request, request.cause)
            }),
        )
    }
}

impl Handler<List> for Registry {
    type Result = ResponseActFuture<Self, Vec<View>>;

    fn handle(&mut self, list: List, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.when_restored().into_actor(self).map(move |(), registry, _| {
            let before = list.before.map_or(Bound::Unbounded, Bound::Excluded);
            let sessions = registry.sessions.range((Bound::Unbounded, before)).rev();
            let views = sessions.map(|(_, session)| session.link.view());
            let live = views.filter(|view| (list.matches)(view)).take(list.most);
            let before = |view: &&View| list.before.is_none_or(|before| view.id < before);
            let wanted = |view: &&View| (list.matches)(view);
            let again = registry.restarting().filter(before).filter(wanted).cloned();
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
        let restored = self.when_restored().into_actor(self);
        Box::pin(restored.map(|(), registry, _| registry.repairs.clone()))
    }
}

impl Handler<CountSessions> for Registry {
    type Result = MessageResult<CountSessions>;

    fn handle(&mut self, _: CountSessions, _: &mut Self::Context) -> Self::Result {
        let mut counted = Counted { repairs: self.repairs.clone(), ..Counted::default() };
        for session in self.sessions.values() {
            *counted.sessions.entry(session.link.status()).or_default() += 1;
        }
        MessageResult(counted)
    }
}

impl Handler<SessionEnded> for Registry {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, ctx: &mut Self::Context) {
        let SessionEnded { id, revival, complete } = ended;
        if let Some(session) = self.sessions.remove(&id) {
            self.keep_ended(session);
            match revival {
                Some(revival) => self.await_restart(*revival, false, ctx),
                None => {
                    self.names.retain(|_, named| !named.is_of(id));
                }
            }
        }
        if complete {
            self.ended.complete(id);
            if self.starts_again(id) {
                self.release_ended(id, ctx);
            }
        }
        self.expire_ended(ctx);
    }
}

impl Handler<Abandon> for Registry {
    type Result = ();

    fn handle(&mut self, Abandon(id): Abandon, ctx: &mut Self::Context) {
        let over = |session: &SessionRef| !session.link.status().is_live();
        if self.sessions.get(&id).is_some_and(over) {
            // It stayed because its end could not be written at first.
            if let Some(session) = self.sessions.remove(&id) {
                self.keep_ended(session);
            }
            self.names.retain(|_, named| !named.is_of(id));
        }
        // A session that still completes its end is dismissed without waiting for that.
        self.ended.complete(id);
        self.ended.drop_output(id);
        self.expire_ended(ctx);
    }
}

impl Handler<FindEnded> for Registry {
    type Result = ResponseActFuture<Self, Option<SessionRef>>;

    fn handle(&mut self, FindEnded(id): FindEnded, _: &mut Self::Context) -> Self::Result {
        let restored = self.when_restored().into_actor(self);
        Box::pin(restored.map(move |(), registry, _| registry.ended.get(id).cloned()))
    }
}

impl Handler<KillAll> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: KillAll, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let restored = self.when_restored().into_actor(self);
        Box::pin(restored.then(|(), registry, _| registry.end_all(HashSet::new())))
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

impl StreamHandler<Notice> for Registry {
    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        let (id, noticed) = match notice {
            Notice::Output(id) => (id, Noticed::Output),
            Notice::Exited(id) => (id, Noticed::Exited),
            Notice::Gone => {
                // Its sessions are gone with it; starting again finds and says so.
                return self.give_up("the holder is gone, and its sessions with it".to_owned());
            }
        };
        if let Some(session) = self.sessions.get(&id) {
            session.addr.do_send(noticed);
        }
    }
}

pub(super) fn process_id(held: &Held) -> ProcessId {
    let boot_id = tree::boot_id().unwrap_or_default();
    ProcessId { pid: held.pid, start_time: held.start_time, boot_id }
}

/// A transition of a session that nobody is attached to: a row to be, and a log line.
pub(super) fn transition(
    log: &Logger,
    id: SessionId,
    at: Now,
    from: Option<Status>,
    to: Status,
    reason: Reason,
) -> NewTransition {
    transition_by(log, id, at, from, to, reason, None)
}

/// The same where somebody asked for it.
pub(super) fn transition_by(
    log: &Logger,
    id: SessionId,
    at: Now,
    from: Option<Status>,
    to: Status,
    reason: Reason,
    cause: Option<Cause>,
) -> NewTransition {
    info!(log, "transition"; "session" => %id, "from" => from.map(Status::as_str),
        "to" => to.as_str(), "reason" => reason.as_str(), "connections" => 0,
        "caused_by" => cause.as_ref().map(|cause| cause.token.clone()),
        "address" => cause.as_ref().and_then(|cause| cause.address.clone()));
    NewTransition {
        at: at.wall,
        from,
        to,
        reason: reason.as_str().to_owned(),
        active_connections: 0,
        cause,
    }
}
