//! Typing into a session, resizing it and signalling it, without a WebSocket.

use super::api::{Object, holder_problem, object, stopping};
use super::caller::CallerApi;
use super::problem::{Problem, code};
use super::query::Query;
use super::sessions::refused;
use super::signals;
use crate::id::ClientKey;
use crate::protocol::{self, Cause};
use crate::session::{InUse, Resize, Signal, SignalError, SignalTarget, TypeOutcome, type_all};
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Json, Path, ReqData};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The longest body of one request, in bytes.
pub(super) const BODY_MAX: usize = 1 << 20;
/// The longest that a program may take to make room for the input.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputQuery {
    client: Option<String>,
    offset: Option<u64>,
}

/// Input requests of one session are typed one after the other, each whole. A request with `client`
/// and `offset` may be repeated: every byte is typed once.
pub(super) async fn input(
    api: CallerApi,
    id: Path<String>,
    Query(query): Query<InputQuery>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let session = api.live(&id).await?;
    let key = match &query.client {
        Some(client) if client.chars().count() > protocol::CLIENT_MAX => {
            return Err(Problem::invalid(format!(
                "client must have at most {} characters",
                protocol::CLIENT_MAX
            )));
        }
        Some(client) => api.caller.principal.client_key(client),
        None if query.offset.is_some() => return Err(Problem::invalid("offset needs client")),
        None => ClientKey::anonymous(),
    };
    let _in_use = InUse::of(session.addr.clone());
    match type_all(&session.handle, key, query.offset, &body, PATIENCE).await {
        TypeOutcome::Accepted(received) => {
            Ok(HttpResponse::Ok().json(json!({ "received": received })))
        }
        TypeOutcome::Gap(received) => {
            let detail = format!("input of this client was received up to {received} only");
            Err(Problem::new(code::INPUT_GAP, detail).with("received", received))
        }
        TypeOutcome::Full { received, typed } => {
            let detail = "the program does not read its input; send the rest later";
            Err(Problem::new(code::INPUT_FULL, detail)
                .with("received", received)
                .with("typed", typed))
        }
        TypeOutcome::Attached { received, typed } => {
            let detail = "a WebSocket of this client is attached and counts its input; type \
                through it, or use another client name";
            Err(Problem::new(code::CLIENT_ATTACHED, detail)
                .with("received", received)
                .with("typed", typed))
        }
        TypeOutcome::Ended => Err(super::api::ended()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SizeBody {
    cols: u32,
    rows: u32,
}

pub(super) async fn resize(
    api: CallerApi,
    id: Path<String>,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let body: SizeBody = object(body)?;
    let (cols, rows) = protocol::check_size(body.cols, body.rows).map_err(Problem::invalid)?;
    let session = api.live(&id).await?;
    let resized = session.addr.send(Resize { connection: None, cols, rows }).await;
    resized.map_err(stopping)?.map_err(|error| refused(&error))?;
    // The next request for the screen must find it of this size.
    session.handle.settled().await.map_err(|error| holder_problem(&error))?;
    Ok(HttpResponse::Ok().json(api.shown(session.handle.view())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalBody {
    pub(super) signal: signals::Named,
    #[serde(default)]
    to: SignalTarget,
}

pub(super) async fn signal(
    api: CallerApi,
    cause: ReqData<Cause>,
    id: Path<String>,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let body: SignalBody = object(body)?;
    let signal = body.signal.number()?;
    let session = api.live(&id).await?;
    let cause = Some(cause.into_inner());
    let request = Signal { signal, to: body.to, cause };
    match session.addr.send(request).await.map_err(stopping)? {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({ "signal": signals::name_of(signal) }))),
        Err(SignalError::Refused(error)) => Err(refused(&error)),
        Err(SignalError::Holder(error)) => Err(holder_problem(&error)),
    }
}
