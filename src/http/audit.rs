//! The audit log over HTTP: `GET /api/v1/audit`, and what the guard writes of each request.

use super::api::store_problem;
use super::caller::{Caller, CallerApi};
use super::problem::Problem;
use super::query::Query;
use crate::audit::{Audit, Doing, How};
use crate::protocol::Cause;
use crate::rights::Action;
use crate::store::{AuditFilter, Outcome};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

/// The default and the largest number of entries of an answer.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Entries after this one; missing: the last ones.
    after: Option<i64>,
    principal: Option<String>,
    /// By id: an entry outlives its session.
    session: Option<String>,
    action: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn audit(
    api: CallerApi,
    Query(query): Query<AuditQuery>,
) -> Result<HttpResponse, Problem> {
    let AuditQuery { after, principal, session, action, limit } = query;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit must be 1 to {LIMIT_MAX}")));
    }
    // What was done until now is among them. If it cannot be written, what was written is.
    let _ = api.store.flush().await;
    let filter = AuditFilter { after, principal, session, action, limit };
    let entries = api.store.audit_log(filter).await.map_err(|error| store_problem(&error))?;
    let last = entries.last().map(|entry| entry.seq).or(after);
    Ok(HttpResponse::Ok().json(json!({ "entries": entries, "last": last })))
}

/// Writes down what became of a request: what changes or shows something, and whatever was refused.
pub(super) fn note(audit: &Audit, caller: &Caller, cause: &Cause, status: StatusCode) {
    let Caller { action, session, done_to, .. } = caller;
    let outcome = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Refused,
        status if status.is_client_error() || status.is_server_error() => Outcome::Failed,
        _ => Outcome::Done,
    };
    let session = session.get().copied();
    let how = match outcome {
        Outcome::Done => How::Done,
        Outcome::Refused | Outcome::Failed => How::NotDone(status.as_u16()),
    };
    let is_first = || audit.is_first(Doing::new(cause, action.as_str(), session, how));
    // What is refused, fails or is done again and again is one entry in a while: nobody floods the
    // log.
    let is_worth_it = match action {
        _ if outcome == Outcome::Refused => is_first(),
        // Nothing happens, and pages ask all the time.
        Action::Identify
        | Action::Ready
        | Action::List
        | Action::Read
        | Action::Transitions
        | Action::Events
        | Action::Profiles
        | Action::Nodes
        | Action::Metrics
        | Action::Audit => false,
        _ if outcome == Outcome::Failed => is_first(),
        // Lists of them show no secret, and pieces of an upload are not the whole.
        Action::Logins | Action::Push | Action::Tokens | Action::Share | Action::Upload => {
            done_to.get().is_some()
        }
        Action::Screen | Action::Output | Action::Recording | Action::Input | Action::Report => {
            is_first()
        }
        _ => true,
    };
    if is_worth_it {
        let status = (outcome != Outcome::Done).then(|| format!("status {}", status.as_u16()));
        let detail = match (done_to.get(), status) {
            (Some(done_to), Some(status)) => Some(format!("{done_to}: {status}")),
            (done_to, status) => done_to.cloned().or(status),
        };
        audit.note(Some(cause), action.as_str(), session, outcome, detail);
    }
}
