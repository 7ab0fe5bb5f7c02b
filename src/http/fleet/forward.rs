//! Passes a request on to another machine of the fleet, and its answer back.

use super::exchange::exchange;
use super::tunnel::Tunnel;
use crate::connections::{HangUp, Visitor};
use crate::fleet::{Fleet, PlaceError, Reach};
use crate::http::api::HeadOnly;
use crate::http::caller::Caller;
use crate::http::lease::Lease;
use crate::http::problem::{Problem, code};
use crate::relay::NodeName;
use crate::rights::Kind;
use actix_http::body::BodySize;
use actix_http::{ConnectionType, RequestHead};
use actix_web::body::SizedStream;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri, Version};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Headers of one connection alone, and those that are this server's own: a browser's login here is nothing
/// that another machine is to see.
const NOT_PASSED_ON: [HeaderName; 12] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::COOKIE,
    header::AUTHORIZATION,
    header::ORIGIN,
    header::PROXY_AUTHORIZATION,
];

/// Headers of an answer that come from another machine. All others are this server's own words to browsers: a
/// machine that is none of an edge's must not have its pages do anything in the edge's name.
const PASSED_BACK: [HeaderName; 12] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
];
/// The same, by how they begin.
const PASSED_BACK_BEGIN: [&str; 2] = ["x-stayd-", "idempotent-"];
/// The longest `Retry-After` that is passed back, in seconds: nobody is to be kept away for longer.
const RETRY_AFTER_MAX_S: u32 = 3600;
/// A machine may take so long to begin its answer. The longest wait that a request may ask for is 600 s.
const ANSWER_MAX: Duration = Duration::from_secs(660);
/// After a client has closed its side of the connection, the answer is waited for so long, since it may still read.
const HALF_CLOSED: Duration = Duration::from_secs(5);
/// The longest body: what a file can have.
const LENGTH_MAX: u64 = i64::MAX as u64;
/// What another machine sends is shown by a browser as if it came from nowhere, and runs nothing.
const NOTHING_RUNS: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// A request for another machine.
pub(super) struct Passed<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) node: &'a NodeName,
    /// Whom it is for, and what ends it.
    pub(super) caller: &'a Caller,
    pub(super) lease: Lease,
    /// The path there, with its query.
    pub(super) path: &'a str,
}

impl Passed<'_> {
    /// Passes it on with a body.
    pub(super) async fn on(
        self,
        request: &HttpRequest,
        size: BodySize,
        payload: Payload,
    ) -> Result<HttpResponse, Problem> {
        // Its rights are those of its session's profile, which are for this machine.
        if self.caller.principal.kind == Kind::Session {
            let detail = "a program inside a session has no rights on other machines";
            return Err(Problem::new(code::FORBIDDEN, detail));
        }
        let uri: Uri = self.path.parse().map_err(|_| Problem::invalid("the path is no path"))?;
        let is_upgrade = is_websocket(request.headers());
        // An upgrade has no body: what follows is the other protocol's.
        let size = if is_upgrade { BodySize::None } else { size };
        let head = head_of(request, uri, is_upgrade);
        let address = request.peer_addr().map(|address| address.ip().to_canonical());
        let stream = self.fleet.open(self.node, &self.caller.principal, address).await?;
        let broken = |error: std::io::Error| {
            let detail = format!("{} was reached, and the answer did not come: {error}", self.node);
            Problem::new(code::NODE_UNREACHABLE, detail).retry_after(1)
        };
        let (body, client) =
            if is_upgrade { (Payload::None, payload) } else { (payload, Payload::None) };
        let exchanged = exchange(stream, head, size, body);
        let hang_up = request.conn_data::<Visitor>().map(Visitor::hang_up).unwrap_or_default();
        let answer = tokio::select! {
            answer = timeout(ANSWER_MAX, exchanged) => answer
                .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
                .map_err(broken)?,
            () = gone(hang_up) => {
                return Err(Problem::new(code::UNAVAILABLE, "the client has hung up"));
            }
        };
        let status = answer.head.status;
        let is_upgraded = is_upgrade && status == StatusCode::SWITCHING_PROTOCOLS;
        let length = length(&answer.head.headers);
        let wrong = |what: &str| {
            let status = status.as_u16();
            let detail = format!(
                "{} was reached, and answered with {status}{what}, which is no answer of stayd: look at what \
                 runs there",
                self.node
            );
            Err(Problem::new(code::BAD_GATEWAY, detail))
        };
        if !is_final(status) && !is_upgraded {
            return wrong("");
        }
        if length.is_some_and(|length| length > LENGTH_MAX) {
            return wrong(" and a length beyond what a file can have");
        }
        let mut response = HttpResponse::build(status);
        for (name, value) in &answer.head.headers {
            let is_passed = PASSED_BACK.contains(name)
                || PASSED_BACK_BEGIN.iter().any(|begin| name.as_str().starts_with(begin));
            if is_passed && is_sound(name, value) {
                response.append_header((name.clone(), value.clone()));
            }
        }
        response.insert_header((header::CONTENT_SECURITY_POLICY, NOTHING_RUNS));
        if is_upgraded {
            let (stream, first) = answer.upgraded();
            let tunnel = Tunnel::new(stream, first, client, self.lease);
            return Ok(response.upgrade("websocket").streaming(tunnel));
        }
        if has_no_body(status) {
            return Ok(response.finish());
        }
        match length {
            Some(length) => Ok(response.body(SizedStream::new(length, answer.body()))),
            None => Ok(response.streaming(answer.body())),
        }
    }
}

/// Whether a status can be the last of an answer. Clients take what comes after an interim one for the answer
/// itself, with headers that nobody has looked at, and above 599 there is nothing that they know (RFC 9110, section
/// 15).
fn is_final(status: StatusCode) -> bool {
    (200..=599).contains(&status.as_u16())
}

/// Whether an answer with this status has no body (RFC 9112, section 6.3). Clients take what comes behind its head
/// for the next answer, which must be this server's own.
fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Resolves some time after the client has closed its side.
async fn gone(hang_up: HangUp) {
    hang_up.wait().await;
    sleep(HALF_CLOSED).await;
}

/// Whether a header of another machine says nothing that would do harm here.
fn is_sound(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        // No redirect leads elsewhere.
        header::LOCATION => value.to_str().is_ok_and(|path| {
            path.starts_with("/api/") && !path.contains("..") && !path.contains(['\\', '%'])
        }),
        header::RETRY_AFTER => {
            let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = value.to_str().ok().filter(is_number).and_then(|text| text.parse().ok());
            seconds.is_some_and(|seconds: u32| seconds <= RETRY_AFTER_MAX_S)
        }
        _ => true,
    }
}

/// Whether a request asks for a WebSocket. Clients that would rather speak HTTP/2 offer that in the same way with
/// any request, body or not, and are answered as if they had not.
fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::UPGRADE)
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The head of the same request for the other machine.
fn head_of(request: &HttpRequest, uri: Uri, is_upgrade: bool) -> RequestHead {
    let mut head = RequestHead::default();
    // The guard has replaced HEAD by GET.
    let is_head = request.extensions().contains::<HeadOnly>();
    head.method = if is_head { Method::HEAD } else { request.method().clone() };
    (head.uri, head.version) = (uri, Version::HTTP_11);
    for (name, value) in request.headers() {
        if !NOT_PASSED_ON.contains(name) && *name != header::CONTENT_LENGTH {
            head.headers.append(name.clone(), value.clone());
        }
    }
    if is_upgrade {
        head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        head.set_connection_type(ConnectionType::Upgrade);
    } else {
        head.set_connection_type(ConnectionType::Close);
    }
    head
}

/// The size of a request's body, as its head says it.
pub(super) fn size_of(headers: &HeaderMap) -> BodySize {
    match length(headers) {
        Some(length) => BodySize::Sized(length),
        None if headers.contains_key(header::TRANSFER_ENCODING) => BodySize::Stream,
        None => BodySize::None,
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl From<Reach> for Problem {
    fn from(reach: Reach) -> Problem {
        let detail = reach.to_string();
        match reach {
            Reach::Unknown(_) => Problem::new(code::UNKNOWN_NODE, detail),
            Reach::Offline { .. } => Problem::new(code::NODE_OFFLINE, detail).retry_after(3),
            Reach::Absent { .. } | Reach::Failed { .. } => {
                Problem::new(code::NODE_UNREACHABLE, detail).retry_after(1)
            }
        }
    }
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Problem {
        Problem::new(code::NODE_UNREACHABLE, error.to_string()).retry_after(1)
    }
}
