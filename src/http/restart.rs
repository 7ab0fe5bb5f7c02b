//! `POST …/restart`: a session's command again, under the same id.

use super::api::{Api, ended, stopping, unknown};
use super::etag::{changed, etag, if_match};
use super::problem::{Problem, code};
use crate::protocol::Cause;
use crate::registry::{Key, Restart, RestartError};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse, rt};
use std::time::Duration;

/// How long the request waits until the command runs: what has to be ended first may need
/// some seconds, and then a slow file system some more.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn restart(
    api: Data<Api>,
    cause: ReqData<Cause>,
    id: Path<String>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let session = api.session(&id).await?.id;
    let asked = api.registry.send(Restart {
        key: Key::Id(session),
        cause: Some(cause.into_inner()),
        expected: if_match(http.headers())?,
    });
    let Ok(restarted) = rt::time::timeout(PATIENCE, asked).await else {
        let detail = "it takes long to end what runs; it will be started again after that";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, detail));
    };
    match restarted.map_err(stopping)? {
        Ok(session) => {
            let view = session.handle.view();
            Ok(HttpResponse::Ok().insert_header(etag(&view)).json(view))
        }
        Err(RestartError::Changed(session)) => Err(changed(&session)),
        Err(RestartError::Unknown) => Err(unknown(&id)),
        Err(RestartError::Ending) => Err(ended()),
        Err(RestartError::Create(error)) => Err(error.into()),
    }
}
