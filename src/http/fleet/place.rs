//! Where a new session is started: here, on the machine that the request names, or on the one with the fewest.

use super::forward::Passed;
use super::unknown_node;
use crate::http::caller::CallerApi;
use crate::http::problem::{Problem, code};
use crate::protocol::CreateSession;
use crate::relay::NodeName;
use actix_http::body::BodySize;
use actix_web::dev::Payload;
use actix_web::http::header::LOCATION;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

/// The word for any machine.
const ANY: &str = "any";

/// Where a session goes.
pub(in crate::http) enum Placed {
    /// To this machine.
    Here(CreateSession),
    /// It was started elsewhere, or was not: the answer of that machine.
    There(HttpResponse),
}

/// Places a session. `key` is that of a request that may be repeated: it goes where it went before.
pub(in crate::http) async fn place(
    api: &CallerApi,
    http: &HttpRequest,
    key: Option<&str>,
    mut request: CreateSession,
) -> Result<Placed, Problem> {
    let (node, labels) = (request.node.take(), std::mem::take(&mut request.node_labels));
    let Some(fleet) = &api.fleet else {
        return match node {
            None if labels.is_empty() => Ok(Placed::Here(request)),
            _ => Err(Problem::new(code::UNKNOWN_NODE, "this server belongs to no fleet")),
        };
    };
    let is_any = node.as_deref() == Some(ANY);
    let wants_any = is_any || (node.is_none() && (!labels.is_empty() || fleet.is_gateway()));
    let chosen = match node {
        Some(name) if !is_any => {
            if !labels.is_empty() {
                let detail = "node_labels choose among machines: leave them out, or node";
                return Err(Problem::invalid(detail));
            }
            NodeName::new(&name).map_err(|_| unknown_node(Some(fleet), &name))?
        }
        _ if wants_any && api.caller.is_visit() => {
            let detail = "this machine is a gateway, and has no sessions of its own";
            return Err(Problem::new(code::UNAVAILABLE, detail));
        }
        _ if wants_any => {
            let key = key.map(|key| format!("{} {key}", api.caller.principal.key()));
            fleet.place(&labels, key.as_deref()).await?
        }
        _ => fleet.name().clone(),
    };
    if chosen == *fleet.name() {
        if fleet.is_gateway() {
            let detail =
                "this machine is a gateway, and has no sessions of its own: name another one";
            return Err(Problem::invalid(detail));
        }
        return Ok(Placed::Here(request));
    }
    if !fleet.serves() || api.caller.is_visit() {
        return Err(unknown_node(Some(fleet), chosen.as_str()));
    }
    api.caller.check_create(&request.labels)?;
    let body = serde_json::to_vec(&request)
        .map_err(|error| Problem::new(code::INTERNAL, error.to_string()))?;
    let size = BodySize::Sized(body.len() as u64);
    let payload = Payload::from(
        Box::pin(stream::iter([Ok(Bytes::from(body))])) as actix_http::BoxedPayloadStream
    );
    let passed = Passed {
        fleet,
        node: &chosen,
        caller: &api.caller,
        lease: api.lease(),
        path: "/api/v1/sessions",
    };
    let answer = passed.on(http, size, payload).await?;
    let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    if let Some(Ok(id)) = place.and_then(|place| Some(place.rsplit('/').next()?.parse())) {
        fleet.directory().was_placed(id, &chosen);
    }
    Ok(Placed::There(answer))
}
