//! What a session's program says that it is doing: `POST /api/v1/sessions/{id}/attention`.

use super::api::{Object, object, stopping};
use super::caller::CallerApi;
use super::local_peer;
use super::problem::Problem;
use super::sessions::refused;
use crate::attention;
use crate::protocol::AttentionState;
use crate::session::{InUse, Report};
use actix_web::web::{Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

/// The longest message of a request, in characters. It is cut to fewer.
const MESSAGE_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportBody {
    state: AttentionState,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    seq: Option<u64>,
}

pub(super) async fn report(
    api: CallerApi,
    id: Path<String>,
    http: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let ReportBody { state, message, seq } = object(body)?;
    if message.as_ref().is_some_and(|message| message.chars().count() > MESSAGE_MAX) {
        let problem = format!("message must have at most {MESSAGE_MAX} characters");
        return Err(Problem::invalid(problem));
    }
    let session = api.live(&id).await?;
    let _in_use = InUse::of(session.addr.clone());
    let report = attention::Report { state, message, seq, ..attention::Report::default() };
    let request = Report { report, reporter: local_peer::pid(&http) };
    let reported = session.addr.send(request).await.map_err(stopping)?;
    let older = reported.map_err(|error| refused(&error))?;
    let attention = api.shown(session.handle.view()).attention;
    let answer = json!({
        "attention": attention, "accepted": older.is_none(), "last_seq": older.map(|o| o.last),
    });
    Ok(HttpResponse::Ok().json(answer))
}
