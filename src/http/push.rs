//! `/api/v1/push`: browsers that are told what needs somebody while no page is open.

use super::api::{Object, object};
use super::auth::{Access, to_the_end};
use super::caller::CallerApi;
use super::problem::{Problem, code};
use crate::push::Subscriber;
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// The server's public key, with which a browser subscribes.
pub(super) async fn key(api: CallerApi) -> Result<HttpResponse, Problem> {
    let key = api.push.public_key().map_err(|error| {
        Problem::new(code::UNAVAILABLE, format!("there is no key for push services: {error}"))
    })?;
    Ok(HttpResponse::Ok().json(json!({ "public_key": key })))
}

/// What browsers make of a subscription (`PushSubscription.toJSON()`), without what the server does not
/// need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionBody {
    endpoint: String,
    keys: Keys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    p256dh: String,
    auth: String,
}

/// Has a browser told of the sessions that exist for the caller, for as long as the caller's login or
/// token holds.
pub(super) async fn subscribe(
    api: CallerApi,
    access: Data<Access>,
    body: Json<Object>,
) -> Result<HttpResponse, Problem> {
    let SubscriptionBody { endpoint, keys: Keys { p256dh, auth } } = object(body)?;
    let subscriber = Subscriber { endpoint, p256dh, auth };
    api.push.check(&subscriber).map_err(Problem::invalid)?;
    // Before it counts: what happens from then on is told.
    api.events.keep_sessions();
    let pass = api.caller.pass;
    let id = to_the_end(async move { access.grants.subscribe(subscriber, &pass).await }).await?;
    api.caller.does("add", "push", &id.to_string());
    Ok(HttpResponse::Ok().json(json!({ "id": id })))
}

pub(super) async fn unsubscribe(
    api: CallerApi,
    access: Data<Access>,
    subscription: Path<String>,
) -> Result<HttpResponse, Problem> {
    api.caller.does("end", "push", &subscription);
    let unknown = |_| {
        Problem::not_found(format!("there is no push subscription {:?}", subscription.as_str()))
    };
    let id: Uuid = subscription.parse().map_err(unknown)?;
    let pass = api.caller.pass;
    to_the_end(async move { access.grants.unsubscribe(id, &pass).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
