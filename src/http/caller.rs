//! The one way from a route to a session: whom the request speaks for, and what it is about to do,
//! are looked at before the session is handed out.

use super::api::{Api, Lookup, ended, json, unknown};
use super::lease::Lease;
use super::problem::{Problem, code};
use crate::events::{Event, Kind};
use crate::id::SessionId;
use crate::protocol::{Recording, Session};
use crate::registry::SessionRef;
use crate::rights::{self, Action, Decision, Facts, Pass, Principal, Role, Scope, decide};
use crate::session::{InUse, Visibility};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The longest name in the audit log, in characters: the longest that a token may have.
const AUDITED_NAME_MAX: usize = 64;

/// Whom a request speaks for, and what it is about to do. The guard adds it to every request that
/// has rights.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    pub(super) pass: Pass,
    pub(super) action: Action,
    /// The session that it is done to, once it is found.
    pub(super) session: Arc<OnceLock<SessionId>>,
    /// What is done to which token, share link or login, for the audit log.
    pub(super) done_to: Arc<OnceLock<String>>,
}

impl Caller {
    /// Refuses an action that is done to no single session, unless the principal may do it.
    pub(super) fn check(&self, action: Action) -> Result<(), Problem> {
        self.decide(action, None).map(drop)
    }

    /// The same caller where nobody may do more than this.
    pub(super) fn capped(&self, most: Role) -> Caller {
        let principal = Principal::clone(&self.principal);
        let principal = Principal { role: principal.role.min(most), ..principal };
        Caller { principal: Arc::new(principal), ..self.clone() }
    }

    /// Whether a session exists for the principal, which may do this to it.
    ///
    /// # Errors
    /// The session exists, and the principal may not.
    pub(super) fn may(&self, action: Action, session: &Session) -> Result<bool, Problem> {
        self.decide(action, Some(facts(session)))
    }

    /// Refuses to create a session with these labels that would not exist for its creator.
    pub(super) fn check_create(&self, labels: &BTreeMap<String, String>) -> Result<(), Problem> {
        let (id, owner) = (SessionId::generate(), Some(self.principal.name.as_str()));
        let facts = Facts { id, owner, owner_token: self.principal.token, labels };
        self.decide(Action::Create, Some(facts)).map(drop)
    }

    /// Refuses to let a share link name a session, or put it into somebody's scope.
    pub(super) fn check_patch(&self, renames_or_labels: bool) -> Result<(), Problem> {
        if renames_or_labels && self.is_share() {
            return Err(self.forbidden(Action::Change, None));
        }
        Ok(())
    }

    fn decide(&self, action: Action, session: Option<Facts<'_>>) -> Result<bool, Problem> {
        match decide(&self.principal, action, session) {
            Decision::Allowed => Ok(true),
            Decision::Hidden => Ok(false),
            Decision::Forbidden { needs } => Err(self.forbidden(action, needs)),
        }
    }

    /// Whether a session exists for the principal.
    pub(super) fn sees(&self, session: &Session) -> bool {
        self.principal.sees(facts(session))
    }

    /// Whether the principal has come by a share link, and so sees a session without its
    /// surroundings.
    pub(super) fn is_share(&self) -> bool {
        self.principal.kind == rights::Kind::Share
    }

    /// Whether an event is for the principal.
    pub(super) fn hears(&self, event: &Event) -> bool {
        let Event { session, owner, owner_token, labels, kind, .. } = event;
        let (id, owner, owner_token) = (*session, owner.as_deref(), *owner_token);
        let of_surroundings = matches!(
            kind,
            Kind::Created
                | Kind::Changed
                | Kind::Cwd
                | Kind::Renamed
                | Kind::Command
                | Kind::Attention
        );
        self.principal.sees(Facts { id, owner, owner_token, labels })
            && !(of_surroundings && self.is_share())
    }

    /// Says for the audit log what is done to what else than a session: `add`, `token`, its name. What
    /// a client calls it is cut and escaped.
    pub(super) fn does(&self, verb: &str, kind: &str, name: &str) {
        let name: String =
            name.chars().take(AUDITED_NAME_MAX).flat_map(char::escape_debug).collect();
        let _ = self.done_to.set(format!("{verb} {kind} {name}"));
    }

    /// How much of a session the principal sees.
    pub(super) fn visibility(&self) -> Visibility {
        if self.is_share() { Visibility::WithoutSurroundings } else { Visibility::Whole }
    }

    /// Whether another machine of the fleet has authenticated it.
    pub(super) fn is_visit(&self) -> bool {
        self.pass.is_visit()
    }

    fn forbidden(&self, action: Action, needs: Option<Role>) -> Problem {
        let (name, action) = (&self.principal.name, action.as_str());
        let problem = |detail| Problem::new(code::FORBIDDEN, detail);
        match needs {
            Some(needs) => {
                let (role, needs) = (self.principal.role.as_str(), needs.as_str());
                // The limit is told where the role may be another one at home.
                let place = if self.is_visit() {
                    " over the fleet, where this machine allows no more than its fleet.rights"
                } else {
                    ""
                };
                let detail = format!("{name:?} has the role {role}{place}; {action} needs {needs}");
                problem(detail).with("needs", needs)
            }
            None => problem(format!("{name:?} may not do this ({action}) with its scope")),
        }
    }

    /// A session as the principal sees it.
    pub(super) fn shown(&self, session: Session) -> Session {
        if self.is_share() { session.without_surroundings() } else { session }
    }
}

/// What scopes look at.
fn facts(session: &Session) -> Facts<'_> {
    let Session { id, owner_token, labels, .. } = session;
    Facts { id: *id, owner: session.owner.as_deref(), owner_token: *owner_token, labels }
}

/// The handles of all routes, in the hands of one caller.
#[derive(Clone)]
pub(super) struct CallerApi {
    api: Data<Api>,
    pub(super) caller: Caller,
    lease: Lease,
}

impl Deref for CallerApi {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl FromRequest for CallerApi {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (api, extensions) = (request.app_data::<Data<Api>>(), request.extensions());
        let rights = extensions.get::<Caller>().cloned().zip(extensions.get::<Lease>().cloned());
        let all = api.cloned().zip(rights);
        // A route that the guard lets pass without rights never asks for this.
        let none =
            || Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, "no rights were checked");
        ready(all.map(|(api, (caller, lease))| CallerApi { api, caller, lease }).ok_or_else(none))
    }
}

impl CallerApi {
    /// The same for an action that the request's body names and not its route. What it is done to is
    /// found anew.
    pub(super) fn doing(&self, action: Action) -> CallerApi {
        let Caller { principal, pass, .. } = self.caller.clone();
        let (session, done_to) = (Arc::default(), Arc::default());
        let caller = Caller { principal, pass, action, session, done_to };
        CallerApi { api: self.api.clone(), caller, lease: self.lease.clone() }
    }

    /// Finds a session by its id or name, if it exists for the caller.
    ///
    /// # Errors
    /// It exists, and the caller may not do with it what the request is about to do; or it cannot
    /// be looked up.
    pub(super) async fn look_up(&self, key: &str) -> Result<Lookup, Problem> {
        let found = self.api.find_any(key).await?;
        let id = match &found {
            Lookup::Live(session) => Some(session.handle.id()),
            Lookup::Ended(session) => Some(session.id),
            Lookup::Unknown => None,
        };
        // A later look-up of the same request is of the same session.
        id.map(|id| self.caller.session.set(id));
        // The common case needs no look at the session.
        if self.caller.principal.scope == Scope::All && !matches!(found, Lookup::Unknown) {
            return self.caller.check(self.caller.action).map(|()| found);
        }
        let sees = match &found {
            Lookup::Live(session) => {
                session.handle.with_view(|view| self.caller.may(self.caller.action, view))?
            }
            Lookup::Ended(session) => self.caller.may(self.caller.action, session)?,
            Lookup::Unknown => false,
        };
        if let (true, Some(id)) = (sees, id) {
            self.end_out_of_scope(id);
        }
        Ok(if sees { found } else { Lookup::Unknown })
    }

    /// Ends what the request opens once this session leaves the caller's scope, or that of the maker of
    /// its link, which only labels can make it do, and only those of a live session change.
    pub(super) fn end_out_of_scope(&self, session: SessionId) {
        if self.caller.principal.may_lose_sessions() {
            let (principal, roster) = (self.caller.principal.clone(), self.roster.clone());
            // Looked up each time: a session that is started again has another handle.
            self.lease.end_unless(move || {
                let handle = roster.present(session);
                handle.is_none_or(|handle| handle.with_view(|view| principal.sees(facts(view))))
            });
        }
    }

    /// A session as the caller sees it.
    pub(super) fn shown(&self, session: Session) -> Session {
        let node = self.fleet.as_ref().map(|fleet| fleet.name().to_string());
        self.caller.shown(Session { node, ..session })
    }

    /// What ends the request's rights.
    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// A session whose output is readable, from this offset if one is given: a live one, or one
    /// that ended a short while ago.
    pub(super) async fn readable(
        &self,
        key: &str,
        from: Option<u64>,
    ) -> Result<SessionRef, Problem> {
        match self.look_up(key).await? {
            Lookup::Live(session) => self.with_offset(session, from).await,
            Lookup::Ended(session) => match self.api.ended(session.id).await? {
                Some(kept) => Ok(kept),
                None => Err(self.unreadable(&session).await),
            },
            Lookup::Unknown => Err(unknown(key)),
        }
    }

    /// The problem that says why the output of an ended session is gone, and what there is instead.
    async fn unreadable(&self, session: &Session) -> Problem {
        let mut instead = Vec::new();
        if matches!(self.store.last_screen(session.id).await, Ok(Some(_))) {
            instead.push("…/screen has what it showed last");
        }
        if session.recording != Recording::Off {
            instead.push("…/recording has what was recorded of it");
        }
        let mut detail = "the session has ended and its output is not kept any more".to_owned();
        if !instead.is_empty() {
            detail = format!("{detail}; {}", instead.join(", "));
        }
        Problem::new(code::ENDED, detail).with("session", json(&self.shown(session.clone())))
    }

    /// Suspends the countdown of a live session while a request waits for it.
    pub(super) async fn in_use(&self, key: &str) -> Option<InUse> {
        self.live(key).await.ok().map(|session| InUse::of(session.addr))
    }

    /// The record of a session, as of now or of its end.
    pub(super) async fn session(&self, key: &str) -> Result<Session, Problem> {
        match self.look_up(key).await? {
            Lookup::Live(session) => Ok(session.handle.view()),
            Lookup::Ended(session) => Ok(*session),
            Lookup::Unknown => Err(unknown(key)),
        }
    }

    /// A live session, or the problem that says why there is none.
    pub(super) async fn live(&self, key: &str) -> Result<SessionRef, Problem> {
        match self.look_up(key).await? {
            Lookup::Live(session) => Ok(session),
            Lookup::Ended(session) => Err(ended().with("session", json(&self.shown(*session)))),
            Lookup::Unknown => Err(unknown(key)),
        }
    }
}
