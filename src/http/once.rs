//! `Idempotency-Key`: lets a client repeat a request that is to be done once.

use super::problem::Problem;
use crate::protocol::CreateSession;
use crate::store::{Once, OnceOf};
use actix_web::http::header::{HeaderMap, HeaderName};
use std::fmt::Display;
use uuid::Uuid;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that an earlier request with this key has got, too.
pub(super) const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
/// The longest key, in characters.
const KEY_MAX: usize = 255;

/// The request's key, if it has one, with a fingerprint of the principal and the body. The order of
/// the body's members and its white space do not count.
pub(super) fn once(
    headers: &HeaderMap,
    principal: impl Display,
    request: &CreateSession,
) -> Result<Option<Once>, Problem> {
    let mut keys = headers.get_all(KEY);
    let Some(key) = keys.next() else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| is_key(key) && keys.next().is_none());
    let Some(key) = key else {
        let detail = format!("Idempotency-Key must be 1 to {KEY_MAX} visible ASCII characters");
        return Err(Problem::invalid(detail));
    };
    Ok(Some(keyed(key, principal, request)))
}

/// Whether this can be a key: 1 to 255 visible ASCII characters.
pub(super) fn is_key(key: &str) -> bool {
    (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A key with a fingerprint of the principal and the request.
pub(super) fn keyed(key: &str, principal: impl Display, request: &CreateSession) -> Once {
    // Numbers, strings and sorted maps of them: nothing that could fail to be written.
    let request = serde_json::to_string(request).unwrap_or_default();
    // The length separates the principal from the body.
    let principal = principal.to_string();
    let words = format!("{}:{principal}{request}", principal.len());
    let request = Uuid::new_v5(&Uuid::NAMESPACE_OID, words.as_bytes()).to_string();
    Once { key: key.to_owned(), of: OnceOf { request, failed: None } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn of(principal: &str, body: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_static("k"));
        let request = serde_json::from_str(body).unwrap();
        once(&headers, principal, &request).unwrap().unwrap().of.request
    }

    #[test]
    fn a_request_is_known_again_however_it_is_written() {
        let first = of("anna", r#"{"name":"a","env":{"x":"1","y":"2"}}"#);
        assert_eq!(of("anna", "{ \"env\": {\"y\":\"2\",\"x\":\"1\"}, \"name\": \"a\" }"), first);
        assert_ne!(of("bert", r#"{"name":"a","env":{"x":"1","y":"2"}}"#), first);
        assert_ne!(of("anna", r#"{"name":"b"}"#), of("anna", r#"{"name":"c"}"#));
        assert_ne!(of("anna", r#"{"idle_timeout_s":null}"#), of("anna", "{}"));
    }

    #[test]
    fn a_key_is_one_word() {
        let long = "x".repeat(KEY_MAX + 1);
        for bad in ["", " ", "a b", "ä", "a\tb", &long] {
            let mut headers = HeaderMap::new();
            headers.insert(KEY, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert!(once(&headers, "owner", &CreateSession::default()).is_err(), "{bad:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(KEY, HeaderValue::from_static("a"));
        headers.append(KEY, HeaderValue::from_static("b"));
        assert!(once(&headers, "owner", &CreateSession::default()).is_err());
    }
}
