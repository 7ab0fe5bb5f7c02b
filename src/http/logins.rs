//! `/api/v1/logins`: the browsers that are logged in.

use super::auth::{Access, to_the_end};
use super::caller::{Caller, CallerApi};
use super::problem::Problem;
use crate::protocol::rfc3339;
use crate::rights::{Action, ListedLogin, LoginsOf};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde_json::json;
use uuid::Uuid;

/// Everybody's for who could end the tokens that they were made with, and one's own for others.
fn logins_of(caller: &Caller) -> LoginsOf {
    match caller.check(Action::Tokens) {
        Ok(()) => LoginsOf::All,
        Err(_) => LoginsOf::Same(caller.pass),
    }
}

pub(super) async fn list(api: CallerApi, access: Data<Access>) -> HttpResponse {
    let current = api.caller.pass.login_id();
    let logins = access.grants.logins(logins_of(&api.caller)).into_iter();
    let logins: Vec<_> = logins
        .map(|ListedLogin { id, principal, created_at, expires_at }| {
            json!({
                "id": id,
                "principal": principal.name,
                "kind": principal.kind,
                "created_at": rfc3339(created_at),
                "expires_at": rfc3339(expires_at),
                "current": current == Some(id),
            })
        })
        .collect();
    HttpResponse::Ok().json(json!({ "logins": logins }))
}

pub(super) async fn remove(
    api: CallerApi,
    access: Data<Access>,
    login: Path<String>,
) -> Result<HttpResponse, Problem> {
    api.caller.does("end", "login", &login);
    let unknown = |_| Problem::not_found(format!("there is no login {:?}", login.as_str()));
    let id: Uuid = login.parse().map_err(unknown)?;
    let of = logins_of(&api.caller);
    to_the_end(async move {
        let ended = access.grants.end_login(id, of).await;
        access.check_leases();
        ended
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}
