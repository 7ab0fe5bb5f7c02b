//! `GET /openapi.json`: the description of the API, and the methods of each path, derived from it.

use actix_web::HttpResponse;
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

/// The methods of a path, `HEAD` among them. A path that is not in the description belongs to the
/// page.
pub(super) fn allowed(pattern: &str) -> Option<&'static HeaderValue> {
    // A pattern may restrict a parameter: `{kind:terminal|claude}`.
    let path = pattern.split('/').map(|part| match part.split_once(':') {
        Some((name, _)) if name.starts_with('{') => format!("{name}}}"),
        _ => part.to_owned(),
    });
    let path = path.collect::<Vec<_>>().join("/");
    METHODS.get(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_the_document() {
        assert_eq!(allowed("/api/v1/sessions").unwrap(), "GET, HEAD, POST");
        assert_eq!(allowed("/ws/{kind:terminal|claude}/{id}").unwrap(), "GET, HEAD");
        assert_eq!(allowed("/"), None);
    }
}
