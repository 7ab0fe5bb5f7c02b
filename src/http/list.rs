//! The list of sessions, page by page.

use super::api::{stopping, store_problem};
use super::caller::CallerApi;
use super::etag;
use super::fleet::unknown_node;
use super::large::{self, PATIENCE, no_room};
use super::problem::{Problem, code};
use super::query::Query;
use super::shots::Large;
use crate::fleet::{Fleet, Wanted};
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::Session;
use crate::registry::List;
use crate::relay::NodeName;
use crate::rights::{Principal, Scope};
use crate::store::{Filter, InScope};
use actix_web::http::header::{self, ContentType};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The default and the largest number of sessions on a page.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// A list longer than this, in bytes, takes room of the large answers and is sent in pieces of this
/// size.
const PIECE: usize = 64 << 10;

/// Serializes the making of lists, since the sessions of one are in memory until its text is made.
/// No list is held up by a client that reads slowly.
static MAKING: Semaphore = Semaphore::const_new(1);

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Comma-separated.
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) all: bool,
    pub(super) name: Option<String>,
    pub(super) label: Option<String>,
    pub(super) limit: Option<u32>,
    /// A machine of the fleet, or `all`.
    pub(super) node: Option<String>,
    pub(super) cursor: Option<SessionId>,
}

/// A long list that finds no room is dropped and made again once there is some, so that a request
/// which waits takes no memory.
pub(super) async fn list(
    api: CallerApi,
    http: HttpRequest,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let deadline = Instant::now() + PATIENCE;
    let mut room = None;
    loop {
        let making = MAKING.acquire().await;
        let text = match elsewhere(&api, &query)? {
            None => serde_json::to_vec(&page(&api, query.clone()).await?),
            Some(told) => serde_json::to_vec(&merged(&api, query.clone(), told).await?),
        };
        let text = text.map_err(|error| Problem::new(code::INTERNAL, error.to_string()))?;
        let tag = etag::of_list(&text);
        if let Some(known) = etag::not_modified(http.headers(), &tag)? {
            return Ok(known);
        }
        let mut response = HttpResponse::Ok();
        response.content_type(ContentType::json()).insert_header((header::ETAG, tag));
        if text.len() <= PIECE {
            return Ok(response.body(text));
        }
        match api.shots.hold(text, room.take()) {
            Ok(text) => return Ok(large::answer(response, ListText { text, at: 0 })),
            Err(kib) => {
                drop(making);
                let waited = api.shots.room(kib, deadline).await;
                room = Some(waited.map_err(|_| no_room("too many long lists are being told"))?);
            }
        }
    }
}

/// A long list in pieces. Each piece is a copy, since it may live longer than the room of the list.
struct ListText {
    text: Large,
    at: usize,
}

impl Iterator for ListText {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let rest = &self.text[self.at..];
        let piece = &rest[..rest.len().min(PIECE)];
        self.at += piece.len();
        (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))
    }
}

#[derive(Serialize)]
pub(super) struct Page {
    pub(super) sessions: Vec<Session>,
    pub(super) next: Option<SessionId>,
}

/// A page in short, for who needs little of each session: one is made at a time.
pub(super) async fn in_short<T>(
    api: &CallerApi,
    query: ListQuery,
    shorten: impl FnOnce(Page) -> T,
) -> Result<T, Problem> {
    let _making = MAKING.acquire().await;
    page(api, query).await.map(shorten)
}

/// Which machines' sessions are asked for beside this one's.
enum Elsewhere {
    All,
    One(NodeName),
}

/// `None`: those of this machine alone.
fn elsewhere(api: &CallerApi, query: &ListQuery) -> Result<Option<Elsewhere>, Problem> {
    let Some(name) = query.node.as_deref() else {
        let serves = api.fleet.as_ref().is_some_and(Fleet::serves) && !api.caller.is_visit();
        // A link has one session, which may be any machine's.
        return Ok((serves && api.caller.is_share()).then_some(Elsewhere::All));
    };
    let unknown = || unknown_node(api.fleet.as_ref(), name);
    let fleet = api.fleet.as_ref().ok_or_else(unknown)?;
    match name {
        _ if name == fleet.name().as_str() => Ok(None),
        _ if !fleet.serves() || api.caller.is_visit() => Err(unknown()),
        "all" => Ok(Some(Elsewhere::All)),
        _ => {
            let name = NodeName::new(name).map_err(|_| unknown())?;
            fleet.directory().is_online(&name).ok_or_else(unknown)?;
            Ok(Some(Elsewhere::One(name)))
        }
    }
}

#[derive(Serialize)]
struct Merged {
    sessions: Vec<Box<RawValue>>,
    next: Option<SessionId>,
}

/// A page with what the directory tells of other machines.
async fn merged(api: &CallerApi, query: ListQuery, of: Elsewhere) -> Result<Merged, Problem> {
    let Some(fleet) = &api.fleet else { return Ok(Merged { sessions: Vec::new(), next: None }) };
    let Asked { statuses, label, limit, wants_ended } = Asked::of(api, &query)?;
    let most = limit as usize + 1;
    let node = match &of {
        Elsewhere::All => None,
        Elsewhere::One(name) => Some(name),
    };
    let wanted = Wanted {
        node,
        statuses: statuses.as_deref(),
        ended: wants_ended,
        name: query.name.as_deref(),
        label: label.as_ref(),
        before: query.cursor,
        most,
    };
    let told = fleet.directory().sessions(&wanted, &api.caller.principal, fleet.name());
    let raw = |json: String| {
        RawValue::from_string(json).map_err(|error| Problem::new(code::INTERNAL, error.to_string()))
    };
    // The page ends with the last session of the others that was told: its cursor would pass over the rest.
    let last = told.sessions.last().filter(|_| told.is_cut).map(|(id, _)| *id);
    let mut rows = BTreeMap::new();
    for (id, json) in told.sessions {
        let json = match api.caller.is_share() {
            false => json.into_string(),
            true => shown_to_share(api, &json)?,
        };
        rows.insert(id, raw(json)?);
    }
    let own = match of {
        Elsewhere::All => page(api, query).await?,
        Elsewhere::One(_) => Page { sessions: Vec::new(), next: None },
    };
    let mut more = own.next.is_some() || last.is_some();
    for session in own.sessions.into_iter().filter(|it| last.is_none_or(|last| it.id > last)) {
        let json = serde_json::to_string(&session);
        let json = json.map_err(|error| Problem::new(code::INTERNAL, error.to_string()))?;
        rows.insert(session.id, raw(json)?);
    }
    more |= rows.len() > limit as usize;
    let newest = rows.into_iter().rev().take(limit as usize);
    let (ids, sessions): (Vec<_>, Vec<_>) = newest.unzip();
    let next = ids.last().copied().filter(|_| more);
    Ok(Merged { sessions, next })
}

/// A session of another machine as a share link shows it.
fn shown_to_share(api: &CallerApi, json: &str) -> Result<String, Problem> {
    let internal = |error: serde_json::Error| Problem::new(code::INTERNAL, error.to_string());
    let session: Session = serde_json::from_str(json).map_err(internal)?;
    serde_json::to_string(&api.caller.shown(session)).map_err(internal)
}

/// What a query asks for, checked.
struct Asked {
    statuses: Option<Vec<Status>>,
    label: Option<(String, String)>,
    limit: u32,
    wants_ended: bool,
}

impl Asked {
    fn of(api: &CallerApi, query: &ListQuery) -> Result<Asked, Problem> {
        let statuses = query.status.as_deref().map(parse_statuses).transpose()?;
        if query.label.is_some() && api.caller.is_share() {
            return Err(Problem::invalid("a share link shows no labels"));
        }
        let label = match query.label.as_deref().map(|label| label.split_once('=')) {
            None => None,
            Some(Some((key, value))) => Some((key.to_owned(), value.to_owned())),
            Some(None) => return Err(Problem::invalid("label must be key=value")),
        };
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit must be 1 to {PAGE_MAX}")));
        }
        let wants_ended =
            query.all || statuses.iter().flatten().any(|status: &Status| !status.is_live());
        Ok(Asked { statuses, label, limit, wants_ended })
    }
}

/// Newest first: ids sort by time of creation, so a page goes on below its last id.
async fn page(api: &CallerApi, query: ListQuery) -> Result<Page, Problem> {
    let Asked { statuses, label, limit, wants_ended } = Asked::of(api, &query)?;
    let most = limit as usize + 1;
    let filter = Filter {
        status: statuses,
        name: query.name,
        label,
        ended: true,
        after: query.cursor,
        limit: limit + 1,
        scope: scope(&api.caller.principal),
    };
    let (wanted, caller) = (filter.clone(), api.caller.clone());
    let matches = move |session: &Session| {
        caller.sees(session)
            && wanted.status.as_ref().is_none_or(|statuses| statuses.contains(&session.status))
            && wanted.name.as_ref().is_none_or(|name| session.name.as_ref() == Some(name))
            && wanted
                .label
                .as_ref()
                .is_none_or(|(key, value)| session.labels.get(key) == Some(value))
    };
    let list = List { before: query.cursor, most, matches: Box::new(matches) };
    let live = api.registry.send(list).await.map_err(stopping)?;
    let mut sessions: BTreeMap<SessionId, Session> = BTreeMap::new();
    if wants_ended {
        let rows = api.store.list(filter).await.map_err(|error| store_problem(&error))?;
        sessions.extend(rows.into_iter().map(|row| (row.session.id, row.session)));
    }
    // A live session's own record is newer than its row, so it replaces the row.
    sessions.extend(live.into_iter().map(|session| (session.id, session)));
    let shown = sessions.into_values().rev().take(most).map(|session| api.shown(session));
    let mut sessions: Vec<Session> = shown.collect();
    let more = sessions.len() > limit as usize;
    sessions.truncate(limit as usize);
    let next = sessions.last().filter(|_| more).map(|session| session.id);
    Ok(Page { sessions, next })
}

/// The scope, as the database looks for it.
fn scope(principal: &Principal) -> InScope {
    let mut scope = InScope::default();
    match &principal.scope {
        Scope::All => {}
        Scope::Sessions(ids) => scope.ids = Some(ids.clone()),
        Scope::Labels(labels) => scope.labels = Some(labels.clone()),
        Scope::Own => scope.owner = Some((principal.name.clone(), principal.token)),
    }
    scope
}

pub(super) fn parse_statuses(text: &str) -> Result<Vec<Status>, Problem> {
    text.split(',')
        .map(|word| {
            let known = || Status::ALL.map(Status::as_str).join(", ");
            word.trim().to_ascii_uppercase().parse().map_err(|_| {
                Problem::invalid(format!("no status {word:?}; there are: {}", known()))
            })
        })
        .collect()
}
