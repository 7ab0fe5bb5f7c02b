//! `/api/v1/tokens`: named tokens; `/api/v1/whoami`: what the request's own rights are.

use super::api::{Lookup, Object, object, store_problem, unknown};
use super::auth::{Access, to_the_end};
use super::caller::CallerApi;
use super::problem::{Problem, code};
use crate::id::SessionId;
use crate::protocol::rfc3339;
use crate::rights::{GrantsError, NewToken, Role, Scope};
use crate::store::TokenRow;
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most sessions that one token may name.
const SESSIONS_MAX: usize = 100;

pub(super) async fn whoami(api: CallerApi, access: Data<Access>) -> HttpResponse {
    let principal = &api.caller.principal;
    HttpResponse::Ok().json(json!({
        "name": principal.name,
        "kind": principal.kind,
        "role": principal.role,
        "scope": principal.scope,
        "expires_at": access.grants.expires_at(&api.caller.pass).map(rfc3339),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    name: String,
    role: Option<Role>,
    sessions: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    own: bool,
    expires_s: Option<u64>,
}

pub(super) async fn add(
    api: CallerApi,
    access: Data<Access>,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let TokenBody { name, role, sessions, labels, own, expires_s } = object(body)?;
    api.caller.does("add", "token", &name);
    let scope = match (sessions, labels, own) {
        (None, None, false) => Scope::All,
        (Some(keys), None, false) => Scope::Sessions(sessions_of(&api, keys).await?),
        (None, Some(labels), false) if !labels.is_empty() => Scope::Labels(labels),
        (None, None, true) => Scope::Own,
        _ => {
            let detail = "one of sessions, labels and own names the scope; labels are not empty";
            return Err(Problem::invalid(detail));
        }
    };
    let role = role.unwrap_or(Role::Controller);
    let new = NewToken { name, role, scope, expires_s };
    let by = api.caller.principal.name.clone();
    let (row, secret) = to_the_end(async move { access.grants.add_token(new, &by).await }).await?;
    let mut token = told(&row);
    token["token"] = secret.into();
    Ok(HttpResponse::Created().json(token))
}

/// The ids of the sessions that a token names. A name is that of the session that has it now.
async fn sessions_of(api: &CallerApi, keys: Vec<String>) -> Result<Vec<SessionId>, Problem> {
    if !(1..=SESSIONS_MAX).contains(&keys.len()) {
        return Err(Problem::invalid(format!("sessions must name 1 to {SESSIONS_MAX}")));
    }
    let mut ids = Vec::new();
    for key in keys {
        ids.push(match api.look_up(&key).await? {
            Lookup::Live(session) => session.handle.id(),
            Lookup::Ended(session) => session.id,
            Lookup::Unknown => return Err(unknown(&key)),
        });
    }
    Ok(ids)
}

pub(super) async fn list(access: Data<Access>) -> HttpResponse {
    let tokens: Vec<_> = access.grants.tokens().iter().map(told).collect();
    HttpResponse::Ok().json(json!({ "tokens": tokens }))
}

pub(super) async fn remove(
    api: CallerApi,
    access: Data<Access>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    api.caller.does("remove", "token", &name);
    to_the_end(async move {
        let removed = access.grants.remove_token(&name).await;
        access.check_leases();
        removed
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

fn told(row: &TokenRow) -> Value {
    let TokenRow { name, digest: _, role, scope, created_at, created_by, expires_at } = row;
    json!({
        "name": name,
        "role": role,
        "scope": scope,
        "created_at": rfc3339(*created_at),
        "created_by": created_by,
        "expires_at": expires_at.map(rfc3339),
    })
}

impl From<GrantsError> for Problem {
    fn from(error: GrantsError) -> Self {
        let detail = error.to_string();
        match error {
            GrantsError::Invalid(_) => Problem::invalid(detail),
            GrantsError::Taken(_) => Problem::new(code::NAME_TAKEN, detail),
            GrantsError::Unknown(_) => Problem::not_found(detail),
            GrantsError::MakerEnded(_) => Problem::new(code::UNAUTHORIZED, detail),
            GrantsError::Store(error) => store_problem(&error),
            GrantsError::TooMany(_)
            | GrantsError::TooManyLogins
            | GrantsError::Randomness(_)
            | GrantsError::Unwritten(_) => Problem::new(code::UNAVAILABLE, detail),
        }
    }
}
