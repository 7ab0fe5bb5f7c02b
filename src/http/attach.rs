//! `GET …/attach`: a WebSocket to a session.

use super::api::{Api, Lookup};
use super::caller::{Caller, CallerApi};
use super::lease::{Lease, Why};
use super::problem::{Problem, code};
use super::reject::Refusal;
use crate::id::{ClientKey, SessionId};
use crate::protocol::{self, Cause, CloseCode, CreateSession, INPUT_WINDOW, Mode, ServerMessage};
use crate::registry::{CreateError, FindOrCreate, FoundOrCreated, SessionRef};
use crate::rights::{Action, Scope};
use crate::session::{
    Attach, Connection, ConnectionSetup, Dialect, Frames, Lag, Nested, Outbox, OutputBody, Picture,
    SKIP_PICTURE, Start,
};
use actix::{AsyncContext, Context};
use actix_web::http::header;
use actix_web::web::{Path, Payload, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws;
use futures_util::FutureExt;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::str::FromStr;

type Parameters = Query<HashMap<String, String>>;

pub(super) async fn attach(
    api: CallerApi,
    (cause, lease): (ReqData<Cause>, ReqData<Lease>),
    request: HttpRequest,
    payload: Payload,
    id: Path<String>,
    query: Parameters,
) -> Result<HttpResponse, Problem> {
    let by = By { caller: &api.caller, cause: &cause, lease: &lease };
    open(&api, by, &request, payload, id.into_inner(), &query, Dialect::Raw).await
}

/// The paths of the original specification, whose first segment names the profile.
pub(super) async fn original(
    api: CallerApi,
    (cause, lease): (ReqData<Cause>, ReqData<Lease>),
    request: HttpRequest,
    payload: Payload,
    path: Path<(String, String)>,
    mut query: Parameters,
) -> Result<HttpResponse, Problem> {
    let (kind, id) = path.into_inner();
    let profile = if kind == "terminal" { "shell".to_owned() } else { kind };
    query.entry("create".into()).or_insert(profile);
    let by = By { caller: &api.caller, cause: &cause, lease: &lease };
    open(&api, by, &request, payload, id, &query, Dialect::Json).await
}

/// The query parameters.
pub(super) struct Wish {
    pub(super) client: Option<String>,
    /// The session whose output the client has, and how many bytes of it.
    has: Option<(SessionId, u64)>,
    mode: Mode,
    pub(super) size: Option<(u16, u16)>,
    lag: Lag,
    /// Lines of scrollback wanted in a snapshot.
    scrollback: Option<usize>,
    create: Option<String>,
    /// The session in which the client runs.
    from: Option<SessionId>,
    /// Whether the client has a terminal, which answers the program's queries.
    has_terminal: bool,
}

impl Wish {
    /// `default` is the mode of a query that names none.
    pub(super) fn parse(query: &HashMap<String, String>, default: Mode) -> Result<Self, String> {
        let number = |name: &str| parsed::<u64>(query, name, "a number");
        let client = query.get("client").cloned();
        if client.as_ref().is_some_and(|client| client.chars().count() > protocol::CLIENT_MAX) {
            return Err(format!("client must have at most {} characters", protocol::CLIENT_MAX));
        }
        let id = |name: &str| parsed::<SessionId>(query, name, "a uuid");
        let (session, from) = (id("session")?, id("from")?);
        let bounded = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let size = match (number("cols")?, number("rows")?) {
            (None, None) => None,
            (Some(cols), Some(rows)) => Some(protocol::check_size(bounded(cols), bounded(rows))?),
            _ => return Err("cols and rows go together".into()),
        };
        let scrollback = number("scrollback")?.map(|lines| bounded(lines) as usize);
        let mode = match query.get("mode").map(String::as_str) {
            None => default,
            Some("rw") => Mode::Rw,
            Some("ro") => Mode::Ro,
            Some(_) => return Err("mode must be rw or ro".into()),
        };
        let lag = match (query.get("lag").map(String::as_str), mode) {
            (None | Some("follow"), Mode::Rw) => Lag::Follow,
            (None | Some("follow"), Mode::Ro) => Lag::Trail,
            (Some("skip"), _) => Lag::Skip,
            (Some(_), _) => return Err("lag must be follow or skip".into()),
        };
        let has_terminal = match query.get("terminal").map(String::as_str) {
            None | Some("yes") => true,
            Some("no") => false,
            Some(_) => return Err("terminal must be yes or no".into()),
        };
        let has = session.zip(number("offset")?);
        let create = query.get("create").cloned();
        Ok(Wish { client, has, mode, size, lag, scrollback, create, from, has_terminal })
    }

    /// The offset up to which the client has this session's output, if the query says so.
    fn has_of(&self, id: SessionId) -> Option<u64> {
        self.has.filter(|(session, _)| *session == id).map(|(_, offset)| offset)
    }
}

/// A query parameter, if it is there.
fn parsed<T: FromStr>(
    query: &HashMap<String, String>,
    name: &str,
    what: &str,
) -> Result<Option<T>, String> {
    let wrong = |_| format!("{name} must be {what}");
    query.get(name).map(|text| text.parse().map_err(wrong)).transpose()
}

/// The client that attaches.
struct By<'a> {
    caller: &'a Caller,
    cause: &'a Cause,
    lease: &'a Lease,
}

async fn open(
    api: &CallerApi,
    by: By<'_>,
    request: &HttpRequest,
    payload: Payload,
    id: String,
    query: &HashMap<String, String>,
    default: Dialect,
) -> Result<HttpResponse, Problem> {
    let mut response = ws::handshake_with_protocols(request, &Dialect::NAMES)
        .map_err(|error| Problem::new(code::UPGRADE_REQUIRED, error.to_string()))?;
    let dialect = offered(request).unwrap_or(default);
    // Whoever does not say may as much as the role allows.
    let may_write = api.caller.check(Action::AttachWrite);
    let default = if may_write.is_ok() { Mode::Rw } else { Mode::Ro };
    let attached = async {
        let wish = Wish::parse(query, default).map_err(|reason| {
            Refusal::new(CloseCode::NotAllowed, reason).because("invalid_request")
        })?;
        let found = find(api, &id, &wish, by.cause).await?;
        if wish.mode == Mode::Rw {
            may_write?;
        }
        let nested = nest(api, &found.session, &wish)?;
        let _ = api.caller.session.set(found.session.handle.id());
        api.end_out_of_scope(found.session.handle.id());
        Ok(join(found, by, wish, nested, dialect, api).await?)
    };
    match attached.await {
        Ok((context, setup, outlet)) => {
            Connection::start_in(context, setup, Frames::new(payload));
            Ok(response.body(outlet))
        }
        // Rights are refused before the upgrade, everything else after it: browsers do not see why
        // an upgrade was refused.
        Err(NotAttached::Forbidden(problem)) => Err(problem),
        Err(NotAttached::Refused(refusal)) => Ok(refusal.respond(response, dialect, payload)),
    }
}

/// Why a client is not attached.
enum NotAttached {
    Forbidden(Problem),
    Refused(Refusal),
}

impl From<Refusal> for NotAttached {
    fn from(refusal: Refusal) -> Self {
        NotAttached::Refused(refusal)
    }
}

impl From<Problem> for NotAttached {
    fn from(problem: Problem) -> Self {
        if problem.code == code::FORBIDDEN {
            return NotAttached::Forbidden(problem);
        }
        NotAttached::Refused(Refusal::new(CloseCode::GoingAway, problem.detail))
    }
}

/// The first subprotocol of the client's list that the server supports.
pub(super) fn offered(request: &HttpRequest) -> Option<Dialect> {
    let offer = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    offer.split(',').find_map(|name| Dialect::named(name.trim()))
}

async fn find(
    api: &CallerApi,
    id: &str,
    wish: &Wish,
    cause: &Cause,
) -> Result<FoundOrCreated, NotAttached> {
    let there = |session| FoundOrCreated { session, is_new: false };
    match api.look_up(id).await? {
        Lookup::Live(session) => {
            let has = wish.has_of(session.handle.id());
            return Ok(there(api.with_offset(session, has).await?));
        }
        Lookup::Ended(session) => {
            let kept = api.ended(session.id).await?;
            // While a session waits for its restart, only clients that lack output are attached to
            // the ended program.
            let lacks = |kept: &SessionRef| {
                let has = wish.has_of(session.id);
                session.restart_at.is_none()
                    || has.is_some_and(|has| has < kept.handle.ring().head())
            };
            return Ok(kept.filter(lacks).map(there).ok_or_else(|| ended(&session))?);
        }
        Lookup::Unknown => {}
    }
    let Some(profile) = &wish.create else {
        return Err(Refusal::new(CloseCode::NoSuchSession, "no such session").into());
    };
    if !api.create_on_attach {
        let reason = "no such session, and settings forbid to create one";
        return Err(Refusal::new(CloseCode::NoSuchSession, reason).into());
    }
    api.caller.check_create(&BTreeMap::new())?;
    let request = CreateSession {
        name: Some(id.to_owned()),
        profile: Some(profile.clone()),
        cols: wish.size.map(|(cols, _)| cols),
        rows: wish.size.map(|(_, rows)| rows),
        awaits_client: Some(true),
        ..CreateSession::default()
    };
    let created = api.registry.send(FindOrCreate { request, cause: Some(cause.clone()) }).await;
    let created =
        created.map_err(|_| Refusal::new(CloseCode::GoingAway, "the server is stopping"))?;
    let found = created.map_err(|error| {
        let reason = error.to_string();
        match error {
            CreateError::SpawnFailed { .. } => {
                Refusal::new(CloseCode::Gone, reason).because("spawn_failed")
            }
            CreateError::Invalid(_)
            | CreateError::NameTaken(_)
            | CreateError::NameIsId(_)
            | CreateError::KeyReused => {
                Refusal::new(CloseCode::NotAllowed, reason).because("invalid_request")
            }
            CreateError::TooMany(_) => {
                Refusal::new(CloseCode::NotAllowed, reason).because("too_many_sessions")
            }
            CreateError::Store(_) | CreateError::Holder(_) | CreateError::Stopping => {
                Refusal::new(CloseCode::GoingAway, reason)
            }
        }
    })?;
    // The session that came first may be out of the caller's scope: the name is taken, and nothing is shown.
    let may = found.session.handle.with_view(|view| api.caller.may(Action::AttachWrite, view))?;
    if !found.is_new && !may {
        let reason = "another session, which you may not see, has this name";
        let refusal = Refusal::new(CloseCode::NotAllowed, reason).because("name_taken");
        return Err(refusal.into());
    }
    Ok(found)
}

/// The rejection of a client whose session has ended; it is told to retry if a restart is pending.
fn ended(session: &protocol::Session) -> Refusal {
    match session.restart_at {
        Some(at) => Refusal::new(
            CloseCode::GoingAway,
            format!("the session is being started again at {}", protocol::rfc3339(at)),
        ),
        None => Refusal::new(
            CloseCode::Gone,
            "the session has ended and its output is not kept any more",
        ),
    }
}

/// Records that the session is shown inside the one in which the client runs. The reverse must not
/// be attached as well: each would print the other's output forever.
fn nest(api: &CallerApi, session: &SessionRef, wish: &Wish) -> Result<Option<Nested>, Refusal> {
    // A client of few rights must not keep others from attaching by what it says.
    let trusted = api.caller.principal.scope == Scope::All;
    let Some(from) = wish.from.filter(|_| trusted) else { return Ok(None) };
    let nested = api.nesting.show(session.handle.id(), from);
    nested.map(Some).ok_or_else(|| {
        let reason = "this client runs inside the session itself, directly or through another";
        Refusal::new(CloseCode::NotAllowed, reason).because("attached_to_itself")
    })
}

/// Attaches a connection, which is counted from now on and about to run in its context.
async fn join(
    FoundOrCreated { session, is_new }: FoundOrCreated,
    By { caller, cause, lease }: By<'_>,
    wish: Wish,
    nested: Option<Nested>,
    dialect: Dialect,
    api: &Api,
) -> Result<(Context<Connection>, ConnectionSetup, OutputBody), Refusal> {
    let context = Context::<Connection>::new();
    let address = context.address();
    // The client that has started the session gets its output from the first byte on.
    let has = wish.has_of(session.handle.id()).or(is_new.then_some(0));
    let start = has.map_or(Start::Fresh, Start::At);
    let (key, client) = match wish.client {
        Some(client) => (caller.principal.client_key(&client), client),
        None => {
            let key = ClientKey::anonymous();
            (key, key.to_string())
        }
    };
    let follows = wish.lag == Lag::Follow;
    let attach = Attach {
        recipient: address.clone().recipient(),
        key,
        client: client.clone(),
        mode: wish.mode,
        follows,
        resumes: matches!(start, Start::At(_)),
        size: wish.size,
        cause: Some(cause.clone()),
        sees_names: !caller.is_share(),
    };
    let handle = session.handle;
    let auditor = api.audit.of(cause.clone(), handle.id());
    let attached = session.addr.send(attach).await.map_err(|_| ended(&handle.view()))?;
    let attached = attached.map_err(|refused| match handle.view() {
        view if view.restart_at.is_some() => ended(&view),
        view if view.status.is_live() && !view.ending => {
            Refusal::new(CloseCode::GoingAway, "the server is stopping")
        }
        _ => Refusal::new(CloseCode::Gone, refused.to_string()),
    })?;
    let outbox = Rc::new(Outbox::default());
    let (view, mode) = (attached.view, wish.mode);
    let writer = match mode {
        Mode::Rw => handle.connection_writer(key, attached.attachment.connection).await,
        Mode::Ro => handle.no_writer(key),
    };
    let accepted = handle.accepted_input(key).await;
    let view = caller.shown(view);
    let scrollback_lines = api.defaults.scrollback_lines;
    let greet = move |offset, (cols, rows)| ServerMessage::Attached {
        client,
        offset,
        input: accepted,
        input_window: INPUT_WINDOW,
        mode,
        cols,
        rows,
        scrollback_lines: Some(scrollback_lines),
        session: Box::new(view),
    };
    let picture = Picture {
        // Without a limit of its own: a screen keeps no more than the settings say.
        scrollback: wish.scrollback.unwrap_or(usize::MAX),
        limit: match wish.lag {
            Lag::Follow | Lag::Trail => protocol::SNAPSHOT_MAX,
            Lag::Skip => SKIP_PICTURE,
        },
    };
    let outlet = OutputBody::new(
        address,
        handle.clone(),
        outbox.clone(),
        dialect,
        wish.lag,
        picture,
        start,
        greet,
    )
    .map_err(|error| Refusal::new(CloseCode::GoingAway, error.to_string()))?;
    let attachment = attached.attachment;
    let setup = ConnectionSetup {
        attachment,
        handle,
        outbox,
        dialect,
        mode,
        follows,
        has_terminal: wish.has_terminal,
        writer,
        accepted,
        revoked: Box::pin(lease.ended().map(Why::text)),
        auditor,
        nested,
    };
    Ok((context, setup, outlet))
}
