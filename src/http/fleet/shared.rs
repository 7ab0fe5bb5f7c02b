//! Share links of sessions of other machines. The machine where a link is made keeps it, and lets visitors in by
//! it; what they ask is passed on as for anybody else. So a link opens where its maker is, and the machine
//! that has the session sees the rights of the link, and of its maker, with every request.

use crate::http::api::unknown;
use crate::http::auth::Access;
use crate::http::caller::CallerApi;
use crate::http::problem::Problem;
use crate::id::SessionId;
use crate::relay::NodeName;
use crate::rights::Scope;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::web::Data;

/// A request extension: the machine whose session a link is made for, where that is another one.
#[derive(Clone)]
pub(in crate::http) struct OfNode(pub(in crate::http) NodeName);

/// The links of which session a path is about, and which one of them.
fn links(path: &str) -> Option<(&str, Option<&str>)> {
    let path = path.split('?').next()?;
    let (session, rest) = path.strip_prefix("/api/v1/sessions/")?.split_once('/')?;
    match rest.split_once('/') {
        None => (rest == "shares").then_some((session, None)),
        Some((first, link)) => (first == "shares").then_some((session, Some(link))),
    }
}

/// Whether a request is about links that this machine keeps: all but those that the session's machine has
/// made itself.
pub(super) fn is_kept_here(request: &ServiceRequest, path: &str) -> bool {
    match links(path) {
        None => false,
        Some((_, None)) => true,
        Some((_, Some(link))) => {
            let (access, id) = (request.app_data::<Data<Access>>(), link.parse::<SessionId>());
            let has = |access: &Data<Access>| {
                id.is_ok_and(|id| access.grants.all_shares().iter().any(|it| it.id == id))
            };
            *request.method() == Method::DELETE && access.is_some_and(has)
        }
    }
}

/// The machine of a session that has links here, in a request about them: they can be ended also when the
/// directory does not have the session.
pub(super) fn node_of(request: &ServiceRequest, session: SessionId) -> Option<NodeName> {
    links(request.match_info().unprocessed())?;
    let access = request.app_data::<Data<Access>>()?;
    access.grants.shares(session).into_iter().find_map(|share| share.node)
}

/// A request about the links of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Links {
    /// One is made.
    Make,
    /// They are listed, or one is ended.
    Manage,
}

/// The session of another machine whose links a request is about.
///
/// # Errors
/// It does not exist for the caller, who may not share it, or its machine is not there to be shared from.
pub(in crate::http) async fn shared(
    api: &CallerApi,
    OfNode(node): &OfNode,
    key: &str,
    links: Links,
) -> Result<SessionId, Problem> {
    let (Some(fleet), action) = (&api.fleet, api.caller.action) else { return Err(unknown(key)) };
    // Nobody gets more by a link than comes in there; links that are too much are still listed and ended.
    let caller = match links {
        Links::Make => {
            fleet.check_reach(node)?;
            api.caller.capped(fleet.directory().most(node))
        }
        Links::Manage => api.caller.clone(),
    };
    let found = match fleet.directory().find_told(node, key).await {
        Some(session) => caller.may(action, &session)?.then_some(session.id),
        // Its machine was not heard for long.
        None if links == Links::Manage && caller.principal.scope == Scope::All => {
            caller.check(action)?;
            key.parse().ok()
        }
        None => None,
    };
    let id = found.ok_or_else(|| unknown(key))?;
    let _ = api.caller.session.set(id);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_from_all_else_that_is_asked_of_a_session() {
        for (path, is) in [
            ("/api/v1/sessions/web/shares", Some(("web", None))),
            ("/api/v1/sessions/web/shares?x=1", Some(("web", None))),
            ("/api/v1/sessions/web/shares/1", Some(("web", Some("1")))),
            ("/api/v1/sessions/web", None),
            ("/api/v1/sessions/shares", None),
            ("/api/v1/sessions/web/sharesx", None),
            ("/api/v1/sessions/web/files?path=/shares", None),
            ("/api/v1/shares", None),
        ] {
            assert_eq!(links(path), is, "{path}");
        }
    }
}
