//! `GET /openapi.json`: the description of the API, and the methods of each path, derived from it.

use crate::rights::Action;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// OpenAPI 3.1, written by hand; tests compare it with the server. `HEAD` is left out: it is the
/// same for every path.
const WRITTEN: &str = include_str!("openapi.json");

/// The description with a `HEAD` added to every `GET`.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // Tests make sure that it can be parsed.
    let mut document: Value = serde_json::from_str(WRITTEN).unwrap_or_default();
    for (_, methods) in document["paths"].as_object_mut().into_iter().flatten() {
        let head = methods.get("get").map(head);
        if let (Some(head), Some(methods)) = (head, methods.as_object_mut()) {
            methods.insert("head".into(), head);
        }
    }
    document
});

/// The description as JSON text.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.to_string().into());

/// The answers to `HEAD`: the statuses and headers of `GET`, without bodies.
fn head(get: &Value) -> Value {
    let mut head = get.clone();
    if let Some(id) = get["operationId"].as_str() {
        head["operationId"] = format!("{id}_head").into();
    }
    head["description"] = "As GET, without the body; nothing is waited for.".into();
    for (_, response) in head["responses"].as_object_mut().into_iter().flatten() {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    head
}

type Route = (Vec<&'static str>, HashMap<Method, Action>);

/// The actions of all routes.
static ACTIONS: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    let action = |(method, operation): (&String, &Value)| {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
        Some((method, Action::named(operation["x-stayd-action"].as_str()?)?))
    };
    paths
        .map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            (path.split('/').collect(), methods.filter_map(action).collect())
        })
        .collect()
});

/// What a request does, by its path as the router sees it. `Err` has the path's methods, if it has
/// any: what the document does not name is not served.
pub(super) fn action(method: &Method, path: &str) -> Result<Action, Option<&'static HeaderValue>> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |pattern: &[&str]| {
        let same = |(pattern, part): (&&str, &&str)| {
            pattern == part || (pattern.starts_with('{') && !part.is_empty())
        };
        pattern.len() == parts.len() && pattern.iter().zip(&parts).all(same)
    };
    // A path of its own goes before one with a parameter at the same place, as in the router.
    let fitting = ACTIONS.iter().filter(|(pattern, _)| fits(pattern));
    let found = fitting
        .min_by_key(|(pattern, _)| pattern.iter().filter(|part| part.starts_with('{')).count());
    let (pattern, methods) = found.ok_or(None)?;
    methods.get(method).copied().ok_or_else(|| METHODS.get(&pattern.join("/")))
}

/// The value of `Allow` for each path.
static METHODS: LazyLock<HashMap<String, HeaderValue>> = LazyLock::new(|| {
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    let methods = paths.filter_map(|(path, methods)| {
        let methods: Vec<_> = methods.as_object()?.keys().map(|m| m.to_uppercase()).collect();
        Some((path.clone(), HeaderValue::try_from(methods.join(", ")).ok()?))
    });
    methods.collect()
});

pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(TEXT.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_but_the_public_ones_has_an_action() {
        let public = ["/api/v1/login", "/healthz"];
        for (path, (pattern, actions)) in
            DOCUMENT["paths"].as_object().unwrap().iter().zip(&*ACTIONS)
        {
            let (path, methods) = path;
            assert_eq!(*path, pattern.join("/"));
            let named = methods.as_object().unwrap().keys().filter(|key| *key != "parameters");
            let wanted = if public.contains(&path.as_str()) { 0 } else { named.count() };
            assert_eq!(actions.len(), wanted, "{path}");
        }
        let session = "/api/v1/sessions/x";
        assert_eq!(action(&Method::DELETE, session), Ok(Action::End));
        assert_eq!(action(&Method::PUT, session), Err(METHODS.get("/api/v1/sessions/{id}")));
        for unknown in ["/api/v1/sessions/", "/api/v1/sessions/x/y", "/", "//api/v1/sessions"] {
            assert_eq!(action(&Method::GET, unknown), Err(None), "{unknown}");
        }
    }
}
