//! `/api/v1/sessions/{id}/shares`: links that open one session and nothing else; `/api/v1/shares`:
//! those of all sessions.

use super::api::{Lookup, Object, object, present};
use super::auth::{Access, to_the_end};
use super::caller::CallerApi;
use super::fleet::{Links, OfNode, shared};
use super::problem::Problem;
use crate::id::SessionId;
use crate::protocol::{Mode, rfc3339};
use crate::rights::{Action, NewShare, Scope};
use crate::store::ShareRow;
use actix_web::web::{Data, Json, Path, ReqData};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long a link lasts whose maker does not say, in seconds.
const EXPIRES_S: u64 = 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareBody {
    #[serde(default = "look_only")]
    mode: Mode,
    /// `Some(None)`: never.
    #[serde(default, deserialize_with = "present")]
    expires_s: Option<Option<u64>>,
}

fn look_only() -> Mode {
    Mode::Ro
}

pub(super) async fn add(
    api: CallerApi,
    access: Data<Access>,
    id: Path<String>,
    request: HttpRequest,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let ShareBody { mode, expires_s } = object(body)?;
    let of = request.extensions().get::<OfNode>().cloned();
    let session = session_of(&api, of.as_ref(), &id, Links::Make).await?;
    let expires_s = expires_s.unwrap_or(Some(EXPIRES_S));
    let new = NewShare { node: of.map(|OfNode(node)| node), session, mode, expires_s };
    let (by, grants) = (api.caller.principal.clone(), access.clone());
    let (row, secret) = to_the_end(async move { grants.grants.add_share(new, &by).await }).await?;
    api.caller.does("add", "share", &row.id.to_string());
    let mut share = told(&row);
    share["url"] = access.page_for(&request, &format!("share={secret}")).into();
    share["token"] = secret.into();
    Ok(HttpResponse::Created().json(share))
}

pub(super) async fn list(
    api: CallerApi,
    access: Data<Access>,
    id: Path<String>,
    of: Option<ReqData<OfNode>>,
) -> Result<HttpResponse, Problem> {
    let session = session_of(&api, of.as_deref(), &id, Links::Manage).await?;
    let shares: Vec<_> = access.grants.shares(session).iter().map(told).collect();
    Ok(HttpResponse::Ok().json(json!({ "shares": shares })))
}

/// The links of all sessions that exist for the caller, each with its session.
pub(super) async fn list_all(
    api: CallerApi,
    access: Data<Access>,
) -> Result<HttpResponse, Problem> {
    let mut shares = Vec::new();
    for row in access.grants.all_shares() {
        let key = row.session.to_string();
        let session = match (&row.node, &api.fleet) {
            (None, _) => match api.find_any(&key).await? {
                Lookup::Live(session) => Some(session.handle.view()),
                Lookup::Ended(session) => Some(*session),
                Lookup::Unknown => None,
            },
            (Some(node), fleet) => {
                fleet.as_ref().and_then(|fleet| fleet.directory().find(node, &key))
            }
        };
        let (sees, name) = match session {
            Some(session) => (api.caller.may(Action::Share, &session)?, session.name),
            // Nobody knows whose it is, while its machine is not heard.
            None => (row.node.is_some() && api.caller.principal.scope == Scope::All, None),
        };
        if sees {
            let mut share = told(&row);
            share["session"] = json!({ "id": row.session, "name": name });
            if let Some(node) = &row.node {
                share["session"]["node"] = node.as_str().into();
            }
            shares.push(share);
        }
    }
    Ok(HttpResponse::Ok().json(json!({ "shares": shares })))
}

pub(super) async fn remove(
    api: CallerApi,
    access: Data<Access>,
    path: Path<(String, String)>,
    of: Option<ReqData<OfNode>>,
) -> Result<HttpResponse, Problem> {
    let (id, share) = path.into_inner();
    let session = session_of(&api, of.as_deref(), &id, Links::Manage).await?;
    api.caller.does("end", "share", &share);
    let unknown = |_| Problem::not_found(format!("the session has no share link {share:?}"));
    let share: SessionId = share.parse().map_err(unknown)?;
    to_the_end(async move {
        let removed = access.grants.remove_share(session, share).await;
        access.check_leases();
        removed
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The session whose links a request is about, on whichever machine it is.
async fn session_of(
    api: &CallerApi,
    of: Option<&OfNode>,
    key: &str,
    links: Links,
) -> Result<SessionId, Problem> {
    match of {
        Some(node) => shared(api, node, key, links).await,
        None => Ok(api.session(key).await?.id),
    }
}

fn told(row: &ShareRow) -> Value {
    let ShareRow { id, mode, created_at, created_by, expires_at, .. } = row;
    json!({
        "id": id,
        "mode": mode,
        "created_at": rfc3339(*created_at),
        "created_by": created_by,
        "expires_at": expires_at.map(rfc3339),
    })
}
