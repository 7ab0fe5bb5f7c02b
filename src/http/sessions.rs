//! `/api/v1/sessions`: create, read, change, restart and end sessions.

use super::api::{
    Lookup, Object, ended, holder_problem, object, present, stopping, store_problem, unknown,
};
use super::auth::Access;
use super::caller::CallerApi;
use super::etag::{changed, etag, if_match, is_known};
use super::fleet::{Placed, place};
use super::once;
use super::problem::{Problem, code};
use super::query::Query;
use crate::events::Kind;
use crate::holder::HolderError;
use crate::holder::wire::FailureCode;
use crate::id::SessionId;
use crate::protocol::{
    Cause, CreateSession, IdleWhen, RestartPolicy, Session, SizePolicy, Transition,
};
use crate::registry::{
    Abandon, Answered, CancelRestart, Create, CreateError, Key, Rename, RenameError, Restart,
    RestartError,
};
use crate::rights::Action;
use crate::session::{Expected, Kill, NotDone, Patch};
use crate::store::Once;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Json, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse, ResponseError, rt};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that `DELETE` waits for the final record.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// The longest that a restart waits until the command runs: what has to be ended first may need
/// some seconds, and then a slow file system some more.
const RESTART_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn create(
    api: CallerApi,
    cause: ReqData<Cause>,
    http: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let request: CreateSession = object(body)?;
    let once = once::once(http.headers(), by(&cause), &request)?;
    let key = once.as_ref().map(|once| once.key.clone());
    let request = match place(&api, &http, key.as_deref(), request).await? {
        Placed::Here(request) => request,
        Placed::There(answer) => return Ok(answer),
    };
    let answered = create_for(&api, cause.into_inner(), request, once).await?;
    let mut response = match answered.result {
        Ok(session) => HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/api/v1/sessions/{}", session.id)))
            .insert_header(etag(&session))
            .json(api.shown(*session)),
        Err(error) => Problem::from(error).error_response(),
    };
    if answered.replayed {
        response.headers_mut().insert(once::REPLAY, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The principal, as the fingerprint of a request has it: a token by its id, so that a later one of the
/// same name does not get what this one has created.
pub(super) fn by(cause: &Cause) -> String {
    cause.token_id.map_or_else(|| cause.token.clone(), |id| id.to_string())
}

/// Starts a session for a caller that may.
pub(super) async fn create_for(
    api: &CallerApi,
    cause: Cause,
    request: CreateSession,
    once: Option<Once>,
) -> Result<Answered, Problem> {
    api.caller.check_create(&request.labels)?;
    let create = Create { request, cause: Some(cause), once };
    let answered = api.registry.send(create).await.map_err(stopping)?;
    if let Ok(session) = &answered.result {
        let _ = api.caller.session.set(session.id);
        // It may have left the caller's scope since.
        if answered.replayed && !api.caller.sees(session) {
            return Err(CreateError::KeyReused.into());
        }
    }
    Ok(answered)
}

pub(super) async fn get(
    api: CallerApi,
    id: Path<String>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let session = api.shown(api.session(&id).await?);
    if is_known(http.headers(), &session)? {
        return Ok(HttpResponse::NotModified().insert_header(etag(&session)).finish());
    }
    Ok(HttpResponse::Ok().insert_header(etag(&session)).json(session))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchBody {
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    idle_timeout_s: Option<Option<u64>>,
    #[serde(default)]
    idle_when: Option<IdleWhen>,
    #[serde(default)]
    size_policy: Option<SizePolicy>,
    #[serde(default)]
    restart: Option<RestartPolicy>,
}

pub(super) async fn patch(
    api: CallerApi,
    id: Path<String>,
    http: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let PatchBody { name, labels, idle_timeout_s, idle_when, size_policy, restart } = object(body)?;
    let expected = if_match(http.headers(), api.caller.visibility())?;
    let session = api.live(&id).await?;
    api.caller.check_patch(name.is_some() || labels.is_some())?;
    let patch = Patch { name, labels, idle_timeout_s, idle_when, size_policy, restart, expected };
    let sizes = patch.size_policy.is_some();
    let renamed = api.registry.send(Rename { session: session.handle.id(), patch }).await;
    match renamed.map_err(stopping)? {
        Ok(changed) => {
            // Another policy may give the terminal another size; the answer is sent once the screen
            // has it.
            if sizes {
                session.handle.settled().await.map_err(|error| holder_problem(&error))?;
            }
            let changed = api.shown(changed);
            Ok(HttpResponse::Ok().insert_header(etag(&changed)).json(changed))
        }
        Err(RenameError::Changed(session)) => Err(changed(&session, |session| api.shown(session))),
        Err(RenameError::Refused(error)) => Err(error.into()),
        Err(RenameError::Ended) => Err(ended()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    #[serde(default)]
    purge: bool,
}

pub(super) async fn delete(
    api: CallerApi,
    access: Data<Access>,
    cause: ReqData<Cause>,
    id: Path<String>,
    http: HttpRequest,
    Query(query): Query<DeleteQuery>,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(http.headers(), api.caller.visibility())?;
    if query.purge {
        api.caller.check(Action::Purge)?;
    }
    let (mut record, persisted) = match end(&api, cause.into_inner(), &id, expected).await? {
        End::Ended { session, persisted } => (*session, persisted),
        End::Ending(session) => return Ok(HttpResponse::Accepted().json(api.shown(*session))),
    };
    record = stay_ended(&api, record, query.purge).await?;
    if query.purge {
        api.caller.does("remove", "session", &record.id.to_string());
        purge(&api, record.id).await?;
        access.grants.forget_session(record.id);
        api.events.tell(Kind::Removed, &record, Utc::now(), json!({}));
    }
    let mut body = serde_json::to_value(api.shown(record)).unwrap_or_default();
    if let (false, Value::Object(fields)) = (persisted, &mut body) {
        fields.insert("persisted".into(), false.into());
    }
    Ok(HttpResponse::Ok().json(body))
}

/// The result of a request to end a session.
pub(super) enum End {
    /// It has ended; `persisted` says whether its record is in the database already.
    Ended { session: Box<Session>, persisted: bool },
    /// Its processes take longer to end.
    Ending(Box<Session>),
}

/// Ends a session, unless it is another than was expected. One that has ended stays as it is.
pub(super) async fn end(
    api: &CallerApi,
    cause: Cause,
    id: &str,
    expected: Option<Expected>,
) -> Result<End, Problem> {
    // An ended session does not change any more.
    let over = |session: Box<Session>| match &expected {
        Some(expected) if !expected.holds(&session) => {
            Err(changed(&session, |session| api.shown(session)))
        }
        _ => Ok(End::Ended { session, persisted: true }),
    };
    match api.look_up(id).await? {
        Lookup::Unknown => Err(unknown(id)),
        Lookup::Ended(session) => over(session),
        Lookup::Live(session) => {
            let ending = || End::Ending(Box::new(session.handle.view()));
            let kill = Kill { cause: Some(cause), expected: expected.clone() };
            match rt::time::timeout(KILL_PATIENCE, session.addr.send(kill)).await {
                Ok(Ok(Ok(killed))) => Ok(End::Ended {
                    session: Box::new(killed.session),
                    persisted: killed.persisted,
                }),
                Ok(Ok(Err(NotDone::Changed(session)))) => {
                    Err(changed(&session, |session| api.shown(session)))
                }
                // The session ended by itself just before.
                Ok(_) => match api.look_up(&session.handle.id().to_string()).await? {
                    Lookup::Ended(session) => over(session),
                    _ => Ok(ending()),
                },
                Err(_) => Ok(ending()),
            }
        }
    }
}

/// Cancels a restart that is pending for an ended session. Returns its record as it is then.
pub(super) async fn stay_ended(
    api: &CallerApi,
    record: Session,
    purged: bool,
) -> Result<Session, Problem> {
    if record.restart_at.is_none() && !purged {
        return Ok(record);
    }
    let stay = CancelRestart { session: record.id, purged };
    let stays = api.registry.send(stay).await.map_err(stopping)?;
    Ok(stays.unwrap_or(record))
}

/// Removes everything that is kept of an ended session. Its files go first: on a full disk that
/// makes the room which SQLite needs to remove a row. Then the task that still completes the
/// session stops, and the holder forgets the session: the next server would adopt it otherwise. The
/// row goes last, so that the request can be repeated until all is removed.
async fn purge(api: &CallerApi, id: SessionId) -> Result<(), Problem> {
    api.recorder.remove(id).await.map_err(|error| {
        let detail = format!(
            "nothing is removed but perhaps some files of its recording: {error}; ask again later"
        );
        Problem::new(code::UNAVAILABLE, detail)
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
    // Without the session's actor its end would not be written.
    api.store.flush().await.map_err(unwritten)?;
    api.registry.send(Abandon(id)).await.map_err(stopping)?;
    match api.holder.forget(id).await {
        Ok(()) | Err(HolderError::Refused { code: FailureCode::NotFound, .. }) => {}
        Err(error) => return Err(left(holder_problem(&error))),
    }
    api.store.purge(id).await.map(drop).map_err(unwritten)
}

pub(super) async fn transitions(api: CallerApi, id: Path<String>) -> Result<HttpResponse, Problem> {
    let id = api.session(&id).await?.id;
    let mut transitions = api.store.transitions(id).await.map_err(|error| store_problem(&error))?;
    if api.caller.is_share() {
        transitions.iter_mut().for_each(Transition::hide_cause);
    }
    Ok(HttpResponse::Ok().json(json!({ "transitions": transitions })))
}

/// Runs a session's command again, under the same id.
pub(super) async fn restart(
    api: CallerApi,
    cause: ReqData<Cause>,
    id: Path<String>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let session = api.session(&id).await?.id;
    let asked = api.registry.send(Restart {
        key: Key::Id(session),
        cause: Some(cause.into_inner()),
        expected: if_match(http.headers(), api.caller.visibility())?,
    });
    let Ok(restarted) = rt::time::timeout(RESTART_PATIENCE, asked).await else {
        let detail = "it takes long to end what runs; it will be started again after that";
        return Err(Problem::new(code::UNAVAILABLE, detail));
    };
    match restarted.map_err(stopping)? {
        Ok(session) => {
            let view = api.shown(session.handle.view());
            Ok(HttpResponse::Ok().insert_header(etag(&view)).json(view))
        }
        Err(RestartError::Changed(session)) => Err(changed(&session, |session| api.shown(session))),
        Err(RestartError::Unknown) => Err(unknown(&id)),
        Err(RestartError::Ending) => Err(ended()),
        Err(RestartError::Create(CreateError::SpawnFailed { .. })) if api.caller.is_share() => {
            Err(Problem::new(code::SPAWN_FAILED, "the command could not be started"))
        }
        Err(RestartError::Create(error)) => Err(error.into()),
    }
}

/// The HTTP error for a refusal of the session actor.
pub(super) fn refused(refused: &crate::lifecycle::Refused) -> Problem {
    Problem::new(code::ENDED, refused.to_string())
}
