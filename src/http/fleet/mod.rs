//! The fleet at the edge of HTTP: which machine a request is for, and how it gets there.
//!
//! - `target`: whom a request is for. `forward`: passes it on, by an `exchange` on a stream, or a `tunnel` for
//!   a WebSocket. `place`: where a new session is started. `nodes`: the machines. `shared`: share links of
//!   sessions of other machines, which this one keeps. `metrics`: all of it, in numbers.

mod exchange;
mod forward;
mod metrics;
mod nodes;
mod place;
mod shared;
mod target;
mod tunnel;

pub(super) use metrics::register;
pub(super) use nodes::nodes;
pub(super) use place::{Placed, place};
pub(super) use shared::{Links, OfNode, shared};
pub(super) use target::local_path;

use super::api::{Api, Lookup};
use super::caller::Caller;
use super::lease::Lease;
use super::problem::{Problem, code};
use crate::connections::Visitor;
use crate::fleet::{Fleet, Reach};
use crate::id::SessionId;
use crate::relay::NodeName;
use crate::rights::Scope;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError, web};
use forward::{Passed, size_of};
use std::time::Duration;
use target::{Target, target};

/// How long after the directory was first read a session that it lacks may still be told: machines come back
/// to NATS, and tell what they have, within some seconds.
const SETTLED: Duration = Duration::from_secs(15);

/// The events of this machine's sessions.
const EVENTS: &str = "/api/v1/events";

/// The middleware inside the guard: a request for another machine is passed on to it, with the rights that the
/// guard has found.
///
/// # Errors
/// Those of the app.
pub async fn to_its_machine<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    match destination(&request).await {
        Ok(None) if may_be_elsewhere(&request).await => {
            let detail = "the directory of the fleet has not been read yet; try again in a moment";
            let problem = Problem::new(code::NODE_UNREACHABLE, detail).retry_after(1);
            return Ok(request.into_response(problem.error_response()).map_into_right_body());
        }
        Ok(None) => {}
        Ok(Some(Destination::Here(path, node))) => {
            if let Some(node) = node {
                request.extensions_mut().insert(OfNode(node));
            }
            let uri = path.parse().map_err(|_| Problem::invalid("the path is no path"))?;
            request.match_info_mut().get_mut().update(&uri);
            request.head_mut().uri = uri;
        }
        Ok(Some(Destination::There { node, path })) => {
            let payload = request.take_payload();
            let (http, rights) = (request.request().clone(), rights(&request));
            let (Some(api), Some((caller, lease))) = (api(&request), rights) else {
                return Ok(next.call(request).await?.map_into_left_body());
            };
            let Some(fleet) = &api.fleet else {
                return Ok(next.call(request).await?.map_into_left_body());
            };
            let passed = Passed { fleet, node: &node, caller: &caller, lease, path: &path };
            let answered = passed.on(&http, size_of(http.headers()), payload).await;
            let response = answered.unwrap_or_else(|problem| problem.error_response());
            return Ok(request.into_response(response).map_into_right_body());
        }
        Err(problem) => {
            let response = problem.error_response();
            return Ok(request.into_response(response).map_into_right_body());
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Whether a session may be another machine's, of which this server has not read yet.
async fn may_be_elsewhere(request: &ServiceRequest) -> bool {
    let Some(api) = api(request) else { return false };
    let has_read = |fleet: &Fleet| !fleet.serves() || fleet.directory().is_listed_for(SETTLED);
    if is_visit(request) || api.fleet.as_ref().is_none_or(has_read) {
        return false;
    }
    match target(request.match_info().unprocessed(), request.query_string()) {
        Target::Session(id) => matches!(api.find_any(&id.to_string()).await, Ok(Lookup::Unknown)),
        _ => false,
    }
}

/// Where a request goes that names a machine, or is for another one.
enum Destination {
    /// This server, by this path; the session is this machine's, or another one's.
    Here(String, Option<NodeName>),
    There {
        node: NodeName,
        path: String,
    },
}

/// `None`: this server, by the request's own path.
async fn destination(request: &ServiceRequest) -> Result<Option<Destination>, Problem> {
    let Some(api) = &api(request) else { return Ok(None) };
    // Whoever asks through the fleet asks this machine alone.
    let fleet = api.fleet.as_ref().filter(|fleet| fleet.serves() && !is_visit(request));
    let path = request.match_info().unprocessed();
    match target(path, request.query_string()) {
        Target::Here if path == EVENTS => {
            Ok(fleet.and_then(|fleet| events_of_link(request, fleet)))
        }
        Target::Here => Ok(None),
        Target::NotOfNodes => Err(Problem::not_found(format!("there is nothing at {path:?}"))),
        Target::Node { name, path } => {
            let is_this = api.fleet.as_ref().is_some_and(|fleet| fleet.name().as_str() == name);
            if is_this {
                return Ok(Some(Destination::Here(path, None)));
            }
            match (fleet, NodeName::new(&name)) {
                (Some(_), Ok(node)) => Ok(Some(there(request, node, path))),
                _ => Err(unknown_node(api.fleet.as_ref(), &name)),
            }
        }
        Target::Session(id) => {
            let Some(fleet) = fleet else { return Ok(None) };
            let is_disputed = fleet.directory().is_disputed(id);
            let node = undisputed(fleet, id).or_else(|| shared::node_of(request, id));
            // Whatever another machine says, what this one has is its own.
            if (node.is_some() || is_disputed) && is_here(api, id).await {
                return Ok(None);
            }
            let node = match node {
                Some(node) => node,
                None if is_disputed => return Err(disputed()),
                None => return Ok(None),
            };
            if let Some((caller, _)) = rights(request) {
                let _ = caller.session.set(id);
            }
            let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
            Ok(Some(there(request, node, path)))
        }
    }
}

/// Whether this server has a session, or cannot say that it has not.
async fn is_here(api: &Api, id: SessionId) -> bool {
    match api.find_any(&id.to_string()).await {
        Ok(Lookup::Live(session)) => session.handle.id() == id,
        Ok(Lookup::Ended(session)) => session.id == id,
        Ok(Lookup::Unknown) => false,
        Err(_) => true,
    }
}

/// The other machine that has a session, if no second one claims it.
fn undisputed(fleet: &Fleet, id: SessionId) -> Option<NodeName> {
    let directory = fleet.directory();
    directory.locate(id, fleet.name()).filter(|_| !directory.is_disputed(id))
}

/// The problem of an id that more than one machine says to have.
fn disputed() -> Problem {
    let detail = "more than one machine of the fleet says that it has this session: name the machine that is \
                  meant (NODE/ID, /api/v1/nodes/{node}/sessions/{id}), and look at the others";
    Problem::new(code::NODE_UNREACHABLE, detail).retry_after(3)
}

/// Where the events of a share link are, which are those of its one session, if that is elsewhere.
fn events_of_link(request: &ServiceRequest, fleet: &Fleet) -> Option<Destination> {
    let (caller, _) = rights(request).filter(|(caller, _)| caller.is_share())?;
    let Scope::Sessions(ids) = &caller.principal.scope else { return None };
    let id = *ids.first()?;
    let node = undisputed(fleet, id)?;
    let path = request.uri().path_and_query()?.to_string();
    Some(Destination::There { node, path })
}

/// The destination of what another machine has. The links that are made here are kept here.
fn there(request: &ServiceRequest, node: NodeName, path: String) -> Destination {
    match shared::is_kept_here(request, &path) {
        true => Destination::Here(path, Some(node)),
        false => Destination::There { node, path },
    }
}

/// The problem of a name that no machine has.
pub(super) fn unknown_node(fleet: Option<&Fleet>, name: &str) -> Problem {
    let detail = match fleet {
        None => format!("this server is in no fleet, and knows no machine {name:?}"),
        Some(fleet) if !fleet.serves() => format!(
            "this machine ({}) offers its own sessions to the fleet and knows no others \
             (fleet.serve_page is false): ask one that does",
            fleet.name()
        ),
        Some(fleet) => match fleet.absence() {
            Some(absence) => {
                format!("this server knows no machine {name:?} of its fleet: {absence}")
            }
            None => Reach::Unknown(name.to_owned()).to_string(),
        },
    };
    Problem::new(code::UNKNOWN_NODE, detail)
}

/// Whether another machine has passed the request on.
fn is_visit(request: &ServiceRequest) -> bool {
    request.conn_data::<Visitor>().is_some_and(|it| it.visit().is_some())
}

fn api(request: &ServiceRequest) -> Option<web::Data<Api>> {
    request.app_data::<web::Data<Api>>().cloned()
}

/// Public paths have none.
fn rights(request: &ServiceRequest) -> Option<(Caller, Lease)> {
    let extensions = request.extensions();
    Some((extensions.get::<Caller>()?.clone(), extensions.get::<Lease>()?.clone()))
}
