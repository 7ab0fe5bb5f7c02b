//! The registry's state, and what finds, lists and reserves in it. Its parts decide for
//! themselves; the other files of this room use these methods, and no file here is above them.

use super::create::{CreateError, Defaults};
use super::ended::Ended;
use super::idempotency::KeysInUse;
use super::names::{Names, Owner, closed};
use super::recovery::{Reconciliation, Sources, Sweeper};
use super::requests::{FindError, Key, SessionRef};
use super::restarts::Restarts;
use super::roster::Roster;
use super::transit::{InTransit, Way};
use crate::events::Bus;
use crate::holder::{Held, Holder, Notice};
use crate::id::SessionId;
use crate::metrics::Metrics;
use crate::protocol;
use crate::recorder::Recorder;
use crate::rights::Principal;
use crate::screens::Screens;
use crate::session::{Arrival, Launch, Noticed, Notices, Record, SessionContext};
use crate::store::StoreHandle;
use actix::prelude::*;
use chrono::Utc;
use slog::Logger;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// The parts of the server that sessions use.
pub struct Parts {
    /// Writes state to SQLite.
    pub store: StoreHandle,
    /// Holds the PTYs.
    pub holder: Holder,
    /// Tracks the screens.
    pub screens: Screens,
    /// Writes recordings.
    pub recorder: Recorder,
    /// Counts.
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
    /// Taken when the actor starts.
    pub(super) notices: Option<UnboundedReceiver<Notice>>,
    /// The sessions that the notices go to.
    pub(super) listeners: Notices,
    roster: Roster,
    /// Live sessions.
    pub(super) sessions: BTreeMap<SessionId, SessionRef>,
    pub(super) names: Names,
    pub(super) ended: Ended<SessionRef>,
    pub(super) restarts: Restarts,
    pub(super) keys: KeysInUse,
    pub(super) transit: InTransit,
    pub(super) reconciliation: Reconciliation,
    pub(super) sweeper: Sweeper,
    /// True once everything that was running before is known here.
    pub(super) restored: watch::Sender<bool>,
    /// Takes the reason why the server cannot go on, which ends it.
    pub(super) fatal: UnboundedSender<String>,
    /// Set when the server stops: no session is started any more.
    pub(super) stopping: bool,
}

/// The whereabouts of a session.
pub(super) enum Place {
    Live(SessionRef),
    /// The session has ended and will be started again.
    Pending(SessionId),
    /// The session is being started; the channel closes when that is over.
    Starting(watch::Receiver<()>),
    Nowhere,
}

/// An answer that is there at once.
pub(super) fn ready<T: 'static>(answer: T) -> ResponseActFuture<Registry, T> {
    Box::pin(actix::fut::ready(answer))
}

impl Registry {
    /// A registry that restores what the store and the holder know as soon as it starts.
    /// It sends to `fatal` the reason why the server must end.
    pub fn new(
        Parts { store, holder, screens, recorder, metrics }: Parts,
        notices: UnboundedReceiver<Notice>,
        defaults: Defaults,
        fatal: UnboundedSender<String>,
        log: Logger,
    ) -> Self {
        let ended = Ended::new(defaults.retention);
        let events = Bus::new(Utc::now());
        let sources = Sources { store: store.clone(), holder: holder.clone(), log: log.clone() };
        Registry {
            sweeper: Sweeper::new(sources, events.clone()),
            store,
            holder,
            screens,
            recorder,
            log,
            defaults,
            metrics,
            events,
            notices: Some(notices),
            listeners: Notices::default(),
            roster: Roster::default(),
            sessions: BTreeMap::new(),
            names: Names::default(),
            ended,
            restarts: Restarts::default(),
            keys: KeysInUse::default(),
            transit: InTransit::default(),
            reconciliation: Reconciliation::default(),
            restored: watch::Sender::new(false),
            fatal,
            stopping: false,
        }
    }

    /// The bus on which the sessions' events are published.
    pub fn events(&self) -> Bus {
        self.events.clone()
    }

    /// The live sessions, for other threads.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    fn context(&self, ctx: &Context<Self>) -> SessionContext {
        SessionContext {
            store: self.store.clone(),
            holder: self.holder.clone(),
            notices: self.listeners.clone(),
            registry: ctx.address().recipient(),
            log: self.log.clone(),
            events: self.events.clone(),
            agents: self.defaults.agents.clone(),
            idle_ring_bytes: self.defaults.idle_ring_bytes,
            quiet_after: (self.defaults.quiet_s > 0)
                .then(|| Duration::from_secs(self.defaults.quiet_s)),
        }
    }

    pub(super) fn sources(&self) -> Sources {
        let (store, holder) = (self.store.clone(), self.holder.clone());
        Sources { store, holder, log: self.log.clone() }
    }

    /// Ends the server; whoever starts it again finds what is left.
    pub(super) fn give_up(&self, why: String) {
        // Nobody listens any more if it is stopping already.
        let _ = self.fatal.send(why);
    }

    pub(super) fn find(&self, key: &Key) -> Result<SessionRef, FindError> {
        let named = |name: &str| match self.names.owner(name) {
            Some(Owner::Session(id)) => self.sessions.get(id),
            // The session may have it, and the answer be on its way.
            Some(Owner::Renaming(id)) => self
                .sessions
                .get(id)
                .filter(|session| session.handle.view().name.as_deref() == Some(name)),
            _ => None,
        };
        let session = match key {
            Key::Id(id) => self.sessions.get(id),
            Key::Name(name) => named(name),
        };
        session.cloned().ok_or(FindError::Unknown)
    }

    pub(super) fn place(&self, key: &Key) -> Place {
        if let Ok(session) = self.find(key) {
            return Place::Live(session);
        }
        let id = match key {
            Key::Id(id) => *id,
            Key::Name(name) => match self.names.owner(name) {
                Some(Owner::Session(id) | Owner::Renaming(id)) => *id,
                Some(Owner::Starting(started)) => return Place::Starting(started.clone()),
                None => return Place::Nowhere,
            },
        };
        if let Some(started) = self.restarts.under_way(id) {
            return Place::Starting(started.clone());
        }
        let is_pending = self.restarts.view(id).is_some();
        if is_pending { Place::Pending(id) } else { Place::Nowhere }
    }

    pub(super) fn when_found(
        &mut self,
        key: Key,
    ) -> ResponseActFuture<Self, Result<SessionRef, FindError>> {
        match self.place(&key) {
            Place::Live(session) => ready(Ok(session)),
            Place::Nowhere => ready(Err(FindError::Unknown)),
            Place::Pending(id) => {
                let view = self.restarts.view(id).cloned().map(Box::new);
                ready(Err(view.map_or(FindError::Unknown, FindError::Restarting)))
            }
            Place::Starting(started) => {
                let started = closed(started).into_actor(self);
                Box::pin(started.then(move |(), registry, _| registry.when_found(key)))
            }
        }
    }

    /// Resolves once everything that was running before is known here.
    pub(super) fn when_restored(&self) -> impl ActorFuture<Self, Output = ()> + use<> {
        let mut restored = self.restored.subscribe();
        // The sender lives as long as the registry.
        let is_restored = async move { drop(restored.wait_for(|restored| *restored).await) };
        actix::fut::wrap_future(is_restored)
    }

    /// Whether there is room for one more session, and for its creator if it is a new one.
    pub(super) fn check_room(&self, new: Option<&protocol::Session>) -> Result<(), CreateError> {
        let each = self.defaults.max_sessions_per_principal;
        // Whatever is being started may be theirs.
        if let Some(new) = new
            && let Some(guest) = new.owner.as_ref().filter(|owner| *owner != Principal::OWNER)
            && self.owned_like(new) + self.transit.starts() >= each
        {
            let full = format!("{guest} has {each} live sessions already");
            return Err(CreateError::TooMany(full));
        }
        let most = self.defaults.max_sessions;
        if self.sessions.len() + self.transit.starts() < most {
            return Ok(());
        }
        Err(CreateError::TooMany(format!("there are {most} live sessions already")))
    }

    /// How many live sessions the same principal has created.
    fn owned_like(&self, new: &protocol::Session) -> usize {
        let is_theirs = |session: &&SessionRef| {
            session
                .handle
                .with_view(|view| (&view.owner, view.owner_token) == (&new.owner, new.owner_token))
        };
        self.sessions.values().filter(is_theirs).count()
    }

    /// Requests for the name wait until the sender is dropped.
    pub(super) fn begin_start(&mut self, id: SessionId, name: Option<&str>) -> watch::Sender<()> {
        let (reserved, started) = watch::channel(());
        if let Some(name) = name {
            self.names.reserve(name, started);
        }
        self.transit.begin(Way::Starting, id);
        reserved
    }

    pub(super) fn end_start(&mut self, id: SessionId, name: Option<&str>) {
        self.transit.end(Way::Starting, id);
        self.restarts.end(id);
        if let Some(name) = name {
            self.names.end_reservation(name);
        }
    }

    /// Makes the actor of a held session and lists it.
    pub(super) fn admit(
        &mut self,
        record: Record,
        held: Held,
        arrival: Arrival,
        ctx: &Context<Self>,
    ) -> SessionRef {
        let (id, name) = (record.row.session.id, record.row.session.name.clone());
        let session = self.launch(record, held, arrival, ctx);
        self.sessions.insert(id, session.clone());
        if let Some(name) = name {
            self.names.claim(&name, id);
        }
        session
    }

    /// Makes the actor of a held session.
    pub(super) fn launch(
        &self,
        record: Record,
        held: Held,
        arrival: Arrival,
        ctx: &Context<Self>,
    ) -> SessionRef {
        let launch = Launch {
            context: self.context(ctx),
            screens: self.screens.clone(),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
            scrollback: self.defaults.scrollback_lines,
        };
        let (addr, handle) = launch.session(record, held, arrival);
        self.roster.add(&handle);
        SessionRef { addr, handle }
    }

    pub(super) fn notice(&self, id: SessionId, noticed: Noticed) {
        if let Some(session) = self.sessions.get(&id) {
            session.addr.do_send(noticed);
        }
    }
}
