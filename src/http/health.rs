//! `/healthz`: the process serves. `/readyz`: it can do its work. `/api/v1/reconcile`: compares
//! what the server knows of its sessions with what is so.

use super::api::{Api, stopping};
use super::problem::{Problem, code};
use crate::registry::{Ready, Reconcile};
use actix_web::web::Data;
use actix_web::{HttpResponse, rt};
use serde_json::json;
use std::time::Duration;

/// The time after which `/readyz` says that the restore is not done.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

pub(super) async fn readyz(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let repairs = match rt::time::timeout(PATIENCE, api.registry.send(Ready)).await {
        Ok(answer) => answer.map_err(stopping)?,
        Err(_) => return Err(not_ready("sessions are still being restored".to_owned())),
    };
    if let Some(error) = api.store.last_error() {
        return Err(not_ready(format!("the database cannot be written: {error}")));
    }
    Ok(HttpResponse::Ok().json(json!({
        "status": "ready",
        "repairs": repairs,
        "database": {
            "damaged_kept_as": api.store.set_aside(),
            "transitions_dropped": api.store.stats().dropped,
            "changes_refused": api.store.stats().rejected,
        },
    })))
}

fn not_ready(detail: String) -> Problem {
    Problem::new(code::NOT_READY, detail)
}

/// Reconciles the sessions with the holder and the database now, not at the next interval.
pub(super) async fn reconcile(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let mended = api.registry.send(Reconcile).await.map_err(stopping)?;
    Ok(HttpResponse::Ok().json(json!({ "mended": mended })))
}
