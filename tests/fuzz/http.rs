//! What a request has: its query, its body, its headers.

use super::api::{Object, object};
use super::attach::{self, Wish};
use super::auth::{Access, Shown, strip_token};
use super::query::Query;
use super::screen::{ScreenQuery, Wanted};
use super::{audit, etag, events, input, list, once, output, recording, sessions, shares, tokens};
use crate::events::{Bus, EventId};
use crate::fuzz::target;
use crate::id::SessionId;
use crate::protocol::{CLIENT_MAX, CreateSession, Mode, Session, check_size};
use crate::rights::{Grants, Principal};
use actix_web::dev::Payload;
use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use actix_web::web::{self, Json};
use actix_web::{FromRequest, HttpRequest, ResponseError};
use chrono::DateTime;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

target!(queries, |bytes: &[u8]| {
    // Whatever is no URI does not come past the server's parser of requests.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let uri = format!("/api/v1/sessions?{text}");
    if uri.parse::<Uri>().is_err() {
        return;
    }
    let request = TestRequest::with_uri(&uri).to_http_request();
    let attach = web::Query::<HashMap<String, String>>::from_query(request.query_string());
    if let Ok(Ok(wish)) = attach.map(|query| Wish::parse(&query, Mode::Rw)) {
        let client = wish.client.unwrap_or_default();
        assert!(client.chars().count() <= CLIENT_MAX);
        assert!(wish.size.is_none_or(|(cols, rows)| check_size(cols.into(), rows.into()).is_ok()));
    }
    let _ = query::<audit::AuditQuery>(&request);
    if let Some(query) = query::<ScreenQuery>(&request) {
        let _ = told(Wanted::try_from(query));
    }
    if let Some(query) = query::<list::ListQuery>(&request) {
        let _ = query.status.as_deref().map(list::parse_statuses).map(told);
    }
    if let Some(query) = query::<events::EventsQuery>(&request) {
        let _ = query.kinds.as_deref().map(events::kinds).map(told);
        if let Some(Ok(id)) = query.last_event_id.as_deref().map(str::parse::<EventId>) {
            let epoch = i64::try_from(id.epoch).ok().and_then(DateTime::from_timestamp_millis);
            let _ = Bus::new(epoch.unwrap_or_default()).listen_after(id);
        }
    }
    query::<sessions::DeleteQuery>(&request);
    query::<input::InputQuery>(&request);
    query::<output::OutputQuery>(&request);
    query::<recording::RecordingQuery>(&request);
});

fn query<T: DeserializeOwned>(request: &HttpRequest) -> Option<T> {
    let parsed = Query::<T>::from_request(request, &mut Payload::None).into_inner();
    told(parsed).map(|Query(query)| query)
}

/// An answer, or a problem that can be told to the client and is not longer than what he sent.
fn told<T>(answer: Result<T, super::problem::Problem>) -> Option<T> {
    let problem = match answer {
        Ok(answer) => return Some(answer),
        Err(problem) => problem,
    };
    let status = problem.status_code();
    assert!(status.is_client_error(), "{status}: {}", problem.detail);
    serde_json::from_str::<serde_json::Value>(&problem.body()).expect("JSON");
    None
}

target!(bodies, |bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Object>(bytes) else { return };
    if let Some(create) = told(object::<CreateSession>(Json(body.clone()))) {
        // A create is written down and read again.
        let text = serde_json::to_string(&create).expect("text");
        let again: CreateSession = serde_json::from_str(&text).expect("its own text");
        assert!(again.command == create.command && again.env == create.env);
    }
    let _ = told(object::<sessions::PatchBody>(Json(body.clone())));
    if let Some(signal) = told(object::<input::SignalBody>(Json(body.clone())))
        && let Some(number) = told(signal.signal.number())
    {
        assert!((1..=64).contains(&number));
    }
    let _ = told(object::<tokens::TokenBody>(Json(body.clone())));
    let _ = told(object::<shares::ShareBody>(Json(body.clone())));
    let _ = told(object::<input::SizeBody>(Json(body)));
});

const SECRET: &str = "secret-secret-secret";

target!(headers, |bytes: &[u8]| {
    let mut headers = headers_of(bytes);
    let listen = ["127.0.0.1:7829".parse().expect("an address")];
    let access = Access::new(Grants::in_memory(SECRET), &listen, &[], &[]).expect("rules");
    let holds = |wanted: &str| bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    if let Ok((principal, _, shown)) = access.credential(&headers) {
        assert!(holds(SECRET), "let in without the token");
        assert_eq!((principal, shown), (Principal::owner(), Shown::Header));
    }
    for host in texts(&headers, header::HOST) {
        let Some(ours) = access.hosts.host(&host) else { continue };
        assert!(host.starts_with("127.0.0.1"), "{host}");
        for origin in texts(&headers, header::ORIGIN) {
            let allowed = access.hosts.allows_origin(&origin, &ours);
            assert!(!allowed || origin.contains("://127.0.0.1"), "{origin}");
        }
    }
    let session = Session::begun(SessionId::from_bytes([7; 16]), DateTime::UNIX_EPOCH);
    let _ = told(etag::if_match(&headers, crate::session::Visibility::Whole));
    let _ = told(etag::is_known(&headers, &session));
    let _ = told(once::once(&headers, "owner", &CreateSession::default()));
    strip_token(&mut headers);
    assert!(!headers.contains_key(header::AUTHORIZATION));
    for offer in texts(&headers, header::SEC_WEBSOCKET_PROTOCOL) {
        assert!(!offer.split(',').any(|name| name.trim().starts_with("bearer.")), "{offer}");
    }
    let mut request = TestRequest::default();
    for (name, value) in &headers {
        request = request.append_header((name, value));
    }
    let _ = attach::offered(&request.to_http_request());
});

/// The headers of lines `NAME: VALUE`.
fn headers_of(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn texts(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    headers.get_all(name).filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
}
