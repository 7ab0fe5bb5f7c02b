//! `/api/v1/sessions`: create, list, look at, change and end sessions.

use super::api::{
    Api, Lookup, Object, ended, holder_problem, object, stopping, store_problem, unknown,
};
use super::once;
use super::problem::{Problem, code};
use super::query::Query;
use super::tags::{changed, etag, if_match, is_known};
use crate::holder::HolderError;
use crate::holder::wire::FailureCode;
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::{Cause, CreateSession, RestartPolicy, Session, SizePolicy};
use crate::registry::{Abandon, Create, List, Rename, RenameError, StayEnded};
use crate::session::{Kill, NotDone, Patch};
use crate::store::Filter;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data, Json, Path, ReqData, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError, rt};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long `DELETE` waits for the final record.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// Sessions on a page unless the request says otherwise, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/api/v1/sessions")
                .route(web::get().to(list))
                .route(web::post().to(create))
                .default_service(web::to(super::api::method_not_allowed)),
        )
        .service(
            web::resource("/api/v1/sessions/{id}")
                .route(web::get().to(get))
                .route(web::patch().to(patch))
                .route(web::delete().to(delete))
                .default_service(web::to(super::api::method_not_allowed)),
        )
        .service(
            web::resource("/api/v1/sessions/{id}/transitions")
                .route(web::get().to(transitions))
                .default_service(web::to(super::api::method_not_allowed)),
        );
}

async fn create(
    api: Data<Api>,
    cause: ReqData<Cause>,
    http: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let request: CreateSession = object(body)?;
    let once = once::once(http.headers(), &cause.token, &request)?;
    let create = Create { request, cause: Some(cause.into_inner()), once };
    let answered = api.registry.send(create).await.map_err(stopping)?;
    let mut response = match answered.result {
        Ok(session) => HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/api/v1/sessions/{}", session.id)))
            .insert_header(etag(&session))
            .json(session),
        Err(error) => Problem::from(error).error_response(),
    };
    if answered.replayed {
        response.headers_mut().insert(once::REPLAY, HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Comma-separated.
    status: Option<String>,
    #[serde(default)]
    all: bool,
    name: Option<String>,
    label: Option<String>,
    limit: Option<u32>,
    cursor: Option<SessionId>,
}

/// Newest first: ids sort by time of creation, so a page goes on below its last id.
async fn list(api: Data<Api>, query: Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let statuses = query.status.as_deref().map(parse_statuses).transpose()?;
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
    let most = limit as usize + 1;
    let filter = Filter {
        status: statuses,
        name: query.name,
        label,
        ended: true,
        after: query.cursor,
        limit: limit + 1,
    };
    let wanted = filter.clone();
    let matches = move |session: &Session| {
        wanted.status.as_ref().is_none_or(|statuses| statuses.contains(&session.status))
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
    // What lives is known better here than in the database.
    sessions.extend(live.into_iter().map(|session| (session.id, session)));
    let mut page: Vec<Session> = sessions.into_values().rev().take(most).collect();
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| more).map(|session| session.id);
    Ok(HttpResponse::Ok().json(json!({ "sessions": page, "next": next })))
}

fn parse_statuses(text: &str) -> Result<Vec<Status>, Problem> {
    text.split(',')
        .map(|word| {
            let known = || Status::ALL.map(Status::as_str).join(", ");
            word.trim().to_ascii_uppercase().parse().map_err(|_| {
                Problem::invalid(format!("no status {word:?}; there are: {}", known()))
            })
        })
        .collect()
}

async fn get(api: Data<Api>, id: Path<String>, http: HttpRequest) -> Result<HttpResponse, Problem> {
    let session = api.session(&id).await?;
    if is_known(http.headers(), &session)? {
        return Ok(HttpResponse::NotModified().insert_header(etag(&session)).finish());
    }
    Ok(HttpResponse::Ok().insert_header(etag(&session)).json(session))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    idle_timeout_s: Option<Option<u64>>,
    #[serde(default)]
    size_policy: Option<SizePolicy>,
    #[serde(default)]
    restart: Option<RestartPolicy>,
}

/// Keeps a missing field apart from one that is null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

async fn patch(
    api: Data<Api>,
    id: Path<String>,
    http: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let PatchBody { name, labels, idle_timeout_s, size_policy, restart } = object(body)?;
    let expected = if_match(http.headers())?;
    let session = api.live(&id).await?;
    let patch = Patch { name, labels, idle_timeout_s, size_policy, restart, expected };
    let sizes = patch.size_policy.is_some();
    let renamed = api.registry.send(Rename { session: session.link.id(), patch }).await;
    match renamed.map_err(stopping)? {
        Ok(changed) => {
            // Another policy may give the terminal another size, which the screen is to have.
            if sizes {
                session.link.settled().await.map_err(|error| holder_problem(&error))?;
            }
            Ok(HttpResponse::Ok().insert_header(etag(&changed)).json(changed))
        }
        Err(RenameError::Changed(session)) => Err(changed(&session)),
        Err(RenameError::Refused(error)) => Err(error.into()),
        Err(RenameError::Ended) => Err(ended()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    purge: bool,
}

async fn delete(
    api: Data<Api>,
    cause: ReqData<Cause>,
    id: Path<String>,
    http: HttpRequest,
    query: Query<DeleteQuery>,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(http.headers())?;
    // What has ended does not change any more.
    let over = |session: Box<Session>| match &expected {
        Some(expected) if !expected.holds(&session) => Err(changed(&session)),
        _ => Ok((*session, true)),
    };
    let (mut record, persisted) = match api.look_up(&id).await? {
        Lookup::Unknown => return Err(unknown(&id)),
        Lookup::Ended(session) => over(session)?,
        Lookup::Live(session) => {
            let kill = Kill { cause: Some(cause.into_inner()), expected: expected.clone() };
            match rt::time::timeout(KILL_PATIENCE, session.addr.send(kill)).await {
                Ok(Ok(Ok(killed))) => (killed.session, killed.persisted),
                Ok(Ok(Err(NotDone::Changed(session)))) => return Err(changed(&session)),
                // It ended by itself just before.
                Ok(_) => match api.look_up(&session.link.id().to_string()).await? {
                    Lookup::Ended(session) => over(session)?,
                    _ => return Ok(HttpResponse::Accepted().json(session.link.view())),
                },
                Err(_) => return Ok(HttpResponse::Accepted().json(session.link.view())),
            }
        }
    };
    if record.restart_at.is_some() || query.purge {
        // It is not to come back either.
        let stay = StayEnded { session: record.id, purged: query.purge };
        let stays = api.registry.send(stay).await.map_err(stopping)?;
        record = stays.unwrap_or(record);
    }
    if query.purge {
        purge(&api, record.id).await?;
    }
    let mut body = serde_json::to_value(&record).unwrap_or_default();
    if let (false, Value::Object(fields)) = (persisted, &mut body) {
        fields.insert("persisted".into(), false.into());
    }
    Ok(HttpResponse::Ok().json(body))
}

/// Removes what is kept of a session. Its files go first: on a full disk that makes the room
/// which SQLite needs to remove anything. Then whoever still completes the session stops, and
/// the holder forgets it: a server after this one would find it there and adopt it. The row goes
/// last: as long as it is there, it can be asked for again.
async fn purge(api: &Api, id: SessionId) -> Result<(), Problem> {
    api.recorder.remove(id).await.map_err(|error| {
        let detail = format!(
            "nothing is removed but perhaps some files of its recording: {error}; ask again later"
        );
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, detail)
    })?;
    let left = |mut problem: Problem| {
        problem.detail = format!(
            "its recording, if it had one, is removed; its row, history and last screen are \
             not: {}; ask again later",
            problem.detail
        );
        problem
    };
    let unwritten = |error| left(store_problem(&error));
    // Without this session's actor nobody would write its end.
    api.store.flush().await.map_err(unwritten)?;
    api.registry.send(Abandon(id)).await.map_err(stopping)?;
    match api.holder.forget(id).await {
        Ok(()) | Err(HolderError::Refused { code: FailureCode::NotFound, .. }) => {}
        Err(error) => return Err(left(holder_problem(&error))),
    }
    api.store.purge(id).await.map(drop).map_err(unwritten)
}

async fn transitions(api: Data<Api>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let id = api.session(&id).await?.id;
    let transitions = api.store.transitions(id).await.map_err(|error| store_problem(&error))?;
    Ok(HttpResponse::Ok().json(json!({ "transitions": transitions })))
}

/// What a session's refusal means over HTTP.
pub(super) fn refused(refused: &crate::lifecycle::Refused) -> Problem {
    Problem::new(StatusCode::GONE, code::ENDED, refused.to_string())
}
