//! The actors and handles that the routes share.

use super::problem::{Problem, code};
use super::query::culprit;
use super::shots::Shots;
use super::turns::Turns;
use crate::audit::Audit;
use crate::events::Bus;
use crate::files::{Finished, Parts};
use crate::fleet::Fleet;
use crate::holder::{Holder, HolderError};
use crate::id::SessionId;
use crate::metrics::Metrics;
use crate::protocol::Session;
use crate::push::Push;
use crate::recorder::Recorder;
use crate::registry::{
    CreateError, Defaults, Find, FindEnded, FindError, Key, Registry, Roster, SessionRef,
};
use crate::screens::Screens;
use crate::session::Nesting;
use crate::store::{StoreError, StoreHandle};
use actix::{Addr, MailboxError};
use actix_web::http::header::HeaderName;
use actix_web::web::Json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The offset in the session's output at which the body begins, or that the screen shows. An answer
/// with this header is not an error, whatever its status.
pub(super) const OFFSET: HeaderName = HeaderName::from_static("x-stayd-offset");

/// The handles that all routes share.
#[derive(Clone)]
pub struct Api {
    /// The live sessions.
    pub registry: Addr<Registry>,
    /// The live sessions, for those who cannot wait.
    pub roster: Roster,
    /// The database, with the ended sessions.
    pub store: StoreHandle,
    /// The holder of the sessions' processes.
    pub holder: Holder,
    /// The threads that restore the screens of ended sessions.
    pub screens: Screens,
    /// The recordings.
    pub recorder: Recorder,
    /// The server's counters.
    pub metrics: Arc<Metrics>,
    /// The events of all sessions.
    pub events: Bus,
    /// Limits the copies of the database at a time, since each takes as much room as the database.
    pub copies: Arc<Semaphore>,
    /// Inspects screens for answers, within a bound on memory.
    pub shots: Shots,
    /// The settings for new sessions.
    pub defaults: Arc<Defaults>,
    /// Whether attaching to an unknown name may start a session.
    pub create_on_attach: bool,
    /// The fleet that this server belongs to.
    pub fleet: Option<Fleet>,
    /// The audit log.
    pub audit: Audit,
    /// Records which sessions are shown inside which.
    pub nesting: Arc<Nesting>,
    /// The last uploads that are whole.
    pub finished: Arc<Finished>,
    /// The record of those that are not.
    pub parts: Parts,
    /// What sends to browsers that have subscribed.
    pub push: Arc<Push>,
    /// The order of the calls of tools, and how many there are.
    pub turns: Turns,
}

/// A session by id or name.
pub(super) enum Lookup {
    Live(SessionRef),
    /// An ended session; `restart_at` is set if a restart is pending.
    Ended(Box<Session>),
    Unknown,
}

impl Api {
    /// Finds the session with this id, alive or ended, then a live one with this name: clients
    /// choose names that look like ids.
    pub(super) async fn find_any(&self, key: &str) -> Result<Lookup, Problem> {
        let Key::Id(id) = Key::from(key) else {
            return self.find(Key::Name(key.to_owned())).await;
        };
        let live = self.find(Key::Id(id)).await?;
        if !matches!(live, Lookup::Unknown) {
            return Ok(live);
        }
        match self.store.get(id).await {
            Ok(Some(row)) => Ok(Lookup::Ended(Box::new(row.session))),
            Ok(None) => self.find(Key::Name(key.to_owned())).await,
            // Live sessions are found even while the database is unavailable.
            Err(error) => match self.find(Key::Name(key.to_owned())).await? {
                Lookup::Unknown => Err(store_problem(&error)),
                live => Ok(live),
            },
        }
    }

    async fn find(&self, key: Key) -> Result<Lookup, Problem> {
        Ok(match self.registry.send(Find(key)).await.map_err(stopping)? {
            Ok(session) => Lookup::Live(session),
            Err(FindError::Restarting(session)) => Lookup::Ended(session),
            Err(FindError::Unknown) => Lookup::Unknown,
        })
    }

    /// An ended session whose output is still kept.
    pub(super) async fn ended(&self, id: SessionId) -> Result<Option<SessionRef>, Problem> {
        self.registry.send(FindEnded(id)).await.map_err(stopping)
    }

    /// A live session; or, if it was restarted, its previous run if that has printed the wanted
    /// output.
    pub(super) async fn with_offset(
        &self,
        session: SessionRef,
        from: Option<u64>,
    ) -> Result<SessionRef, Problem> {
        let Some(from) = from.filter(|from| *from < session.handle.ring().base()) else {
            return Ok(session);
        };
        let before = self.ended(session.handle.id()).await?;
        Ok(before.filter(|before| before.handle.ring().oldest() <= from).unwrap_or(session))
    }
}

pub(super) fn stopping(_: MailboxError) -> Problem {
    let detail = "the server is stopping; try again in a moment";
    Problem::new(code::UNAVAILABLE, detail)
}

/// Does something in a task of its own, which goes on to its end if the client hangs up meanwhile.
///
/// # Errors
/// The server is stopping.
pub(super) async fn by_itself<T: 'static>(
    work: impl Future<Output = T> + 'static,
) -> Result<T, Problem> {
    let done = actix_web::rt::spawn(work).await;
    done.map_err(|_| Problem::new(code::UNAVAILABLE, "the server is stopping"))
}

pub(super) fn unknown(key: &str) -> Problem {
    Problem::not_found(format!("no session is called {key:?}"))
}

pub(super) fn ended() -> Problem {
    Problem::new(code::ENDED, "the session has ended")
}

pub(super) fn store_problem(error: &StoreError) -> Problem {
    Problem::new(code::STORE_UNAVAILABLE, error.to_string())
}

pub(super) fn holder_problem(error: &HolderError) -> Problem {
    Problem::new(code::HOLDER_UNAVAILABLE, error.to_string())
}

/// A session as a member of a problem.
pub(super) fn json(session: &Session) -> serde_json::Value {
    // Strings and numbers: nothing in it can fail to be written.
    serde_json::to_value(session).unwrap_or_default()
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        let detail = error.to_string();
        match error {
            CreateError::Invalid(_) => Problem::invalid(detail),
            CreateError::NameTaken(_) | CreateError::NameIsId(_) => {
                Problem::new(code::NAME_TAKEN, detail)
            }
            CreateError::KeyReused => Problem::new(code::IDEMPOTENCY_KEY_REUSED, detail),
            CreateError::TooMany(_) => Problem::new(code::TOO_MANY_SESSIONS, detail),
            CreateError::SpawnFailed { session, step, errno, .. } => {
                Problem::new(code::SPAWN_FAILED, detail)
                    .with("step", step)
                    .with("errno", errno)
                    .with("session", json(&session))
            }
            CreateError::Store(error) => store_problem(&error),
            CreateError::Holder(_) => Problem::new(code::HOLDER_UNAVAILABLE, detail),
            CreateError::Stopping => Problem::new(code::UNAVAILABLE, detail),
        }
    }
}

/// A request extension of `HEAD`: the guard sends no body, so handlers need not make one, and
/// should not wait for one.
pub(super) struct HeadOnly;

/// Keeps a missing field apart from one that is null.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A JSON body.
pub(super) type Object = serde_json::Map<String, serde_json::Value>;

/// Accepts only JSON objects: serde would take a list for a struct as well.
pub(super) fn object<T: DeserializeOwned>(body: Json<Object>) -> Result<T, Problem> {
    let body = body.into_inner();
    let read = |body: Object| serde_json::from_value(serde_json::Value::Object(body));
    read(body.clone()).map_err(|error| {
        let (error, names) = (error.to_string(), body.keys().cloned().collect::<Vec<_>>());
        let rest = |from: usize| -> Object {
            names[from..].iter().map(|name| (name.clone(), body[name].clone())).collect()
        };
        let wrong = culprit(&error, names.len(), |from| {
            read(rest(from)).err().map(|error| error.to_string())
        });
        let name = wrong.map(|at| format!("{}: ", names[at])).unwrap_or_default();
        Problem::invalid(format!("the body is not what it must be: {name}{error}"))
    })
}
