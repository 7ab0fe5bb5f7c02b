//! `/healthz`: the process serves. `/readyz`: it can do its work.

use super::api::{Api, stopping};
use super::problem::{Problem, code};
use crate::registry::Ready;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, rt};
use serde_json::json;
use std::time::Duration;

/// How long `/readyz` waits for the restore before it says that it is not done.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn configure(config: &mut ServiceConfig) {
    config.route("/healthz", web::get().to(healthz)).route("/readyz", web::get().to(readyz));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn readyz(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let restored = match rt::time::timeout(PATIENCE, api.registry.send(Ready)).await {
        Ok(answer) => answer.map(|()| true).map_err(stopping)?,
        Err(_) => false,
    };
    let store = api.store.healthy();
    if restored && store {
        return Ok(HttpResponse::Ok().json(json!({ "status": "ready" })));
    }
    let detail = match (restored, api.store.last_error()) {
        (false, _) => "sessions are still being restored".to_owned(),
        (true, error) => format!("the database cannot be written: {}", error.unwrap_or_default()),
    };
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NOT_READY, detail))
}
