//! The one layer before routing and upgrades: every request needs the token, unknown paths
//! included, except for a few exact paths.

use super::access_log::Asked;
use super::api::{HeadOnly, OFFSET};
use super::auth::{Access, Shown, Unknown, has_bearer_protocol, strip_token};
use super::bodies::{AnswerBody, RequestBody};
use super::caller::Caller;
use super::guesses::Refused;
use super::lease::{Lease, Why};
use super::problem::{self, Problem, code};
use super::{allowlist, assets, fleet, local_peer, login, openapi, refusal_page};
use crate::connections::Visitor;
use crate::protocol::Cause;
use crate::rights::{Action, Grants};
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpMessage, ResponseError, rt, web};
use futures_util::future::{LocalBoxFuture, Ready, ready};
use slog::Logger;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Headers of every response that does not set them itself.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // No page of another site shares a process or a window handle with ours.
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-embedder-policy"),
        HeaderValue::from_static("require-corp"),
    ),
    // A cache must not keep what terminals show.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The middleware; wrap the whole app in it, last, so that it sees a request first.
#[derive(Clone)]
pub struct Guard {
    access: web::Data<Access>,
    body_timeout: Duration,
    log: Logger,
}

impl Guard {
    /// A guard with these rules, which writes the access log and waits so long for bodies.
    pub fn new(access: web::Data<Access>, body_timeout: Duration, log: Logger) -> Guard {
        Guard { access, body_timeout, log }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<AnswerBody>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service, guard: self.clone() }))
    }
}

/// A service behind the guard.
pub struct Guarded<S> {
    service: S,
    guard: Guard,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<AnswerBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let Guard { access, body_timeout, log } = &self.guard;
        let asked = Asked::of(&request, log);
        let is_head = *request.method() == Method::HEAD;
        if is_head {
            // Routes handle only `GET`; the body of the answer is cut off below.
            request.head_mut().method = Method::GET;
            request.headers_mut().remove(header::UPGRADE);
            request.extensions_mut().insert(HeadOnly);
        }
        let body = RequestBody::bounded(&mut request, *body_timeout);
        let (waited_for, within) = (body.clone(), *body_timeout);
        let access = access.clone();
        let answer = move |asked: Asked, response: ServiceResponse<BoxBody>, lease| {
            access.note(response.request(), response.status());
            let response = asked.answered(with_headers(response));
            response.map_body(|_, answer| AnswerBody::new(answer, is_head, body, lease))
        };
        let lease = match admit(&self.guard.access, &mut request) {
            Ok(lease) => lease,
            Err(Refused { problem, after }) => {
                // The body is not read: a request without rights costs no handler.
                let refused = refusal_page::respond(&request, &problem);
                let response = request.into_response(refused);
                return Box::pin(async move {
                    rt::time::sleep(after).await;
                    Ok(answer(asked, response, None))
                });
            }
        };
        let answered = self.service.call(request);
        Box::pin(async move {
            let answered = match &lease {
                None => answered.await?,
                // An answer that is ready is still sent although the lease ends now.
                Some(lease) => tokio::select! {
                    biased;
                    answered = answered => answered?,
                    why = lease.ended() => return Err(shut_out(why, asked)),
                },
            };
            let response = as_problem(answered).map_into_boxed_body();
            if waited_for.is_some_and(|body| body.is_late()) {
                let late = late(within).error_response();
                return Ok(answer(asked, response.into_response(late), None));
            }
            // A WebSocket holds its lease itself, and closes with a code that says so.
            let lease = lease.filter(|_| response.status() != StatusCode::SWITCHING_PROTOCOLS);
            Ok(answer(asked, response, lease))
        })
    }
}

/// The problem for a body that did not come in time. The handler's own answer is discarded: no
/// handler acts on half a body.
fn late(within: Duration) -> Problem {
    let detail = format!("the request's body did not come within {} s", within.as_secs());
    Problem::new(code::BODY_TIMEOUT, detail)
}

/// The answer to a request whose lease has ended while it was served. The service still has the
/// request, so this is built without one.
fn shut_out(why: Why, asked: Asked) -> Error {
    let code = match why {
        Why::Invalid(_) => code::UNAUTHORIZED,
        // A session out of scope does not exist.
        Why::OutOfScope => code::NOT_FOUND,
    };
    let problem = Problem::new(code, why.text());
    let mut response = problem.error_response();
    put_headers(response.headers_mut());
    asked.note(response.status(), response.headers_mut());
    InternalError::from_response(why.text(), response).into()
}

/// Authenticates a request, removes its token and adds its principal, or says why not. Public paths
/// have no lease; nor has a logout, which ends its own lease and must still be answered.
fn admit(access: &Access, request: &mut ServiceRequest) -> Result<Option<Lease>, Refused> {
    let is_local = local_peer::is_local(request);
    // Another machine of the fleet has looked at these, and has authenticated who asks.
    let visit = request.conn_data::<Visitor>().and_then(Visitor::visit);
    let visit = visit.map(|visit| (visit.principal().clone(), visit.pass()));
    let has_origin = if visit.is_some() {
        true
    } else if is_local {
        local_peer::check_origin(request.headers())?;
        false
    } else {
        let host = asked_host(access, request)?;
        check_origin(access, request.headers(), &host)?
    };
    let is_public = is_public(request);
    let visitor = request.conn_data::<Visitor>();
    let credential = match (visitor, visit) {
        (_, Some((principal, pass))) => Some(Ok((principal, pass, Shown::Header))),
        (Some(visitor), None) if is_public && visitor.is_known() => None,
        _ => Some(access.credential(request.headers())),
    };
    if is_public {
        if let (Some(visitor), Some(Ok((principal, pass, _)))) = (visitor, &credential) {
            // A public path is served to strangers, too.
            let _ = visitor.has_rights(principal, *pass);
        }
        strip_token(request.headers_mut());
        return Ok(None);
    }
    let detail = "this needs a token: Authorization: Bearer, the login cookie, or \
                  the WebSocket subprotocol bearer.<token>";
    let credential = match credential.unwrap_or(Err(Unknown::Missing)) {
        Err(Unknown::Missing) if is_local && shows_something(request.headers()) => {
            Err(Unknown::Wrong)
        }
        Err(Unknown::Missing) if is_local => {
            if local_peer::is_passed_on(request.headers()) {
                let detail = "a request that is passed on to the unix socket needs a token";
                return Err(Problem::new(code::FORBIDDEN, detail).into());
            }
            let (_, pass) = Grants::owner();
            Ok((local_peer::admit(request, access)?, pass, Shown::Header))
        }
        credential => credential,
    };
    let (principal, pass, shown) = credential.map_err(|unknown| match unknown {
        Unknown::Wrong => {
            let from = address(request);
            let detail = "this token, link or login is not known here: it may be mistyped, cut \
                          short, or another server's";
            let refused = access.guesses.refuse(from, detail);
            // Further attempts are counted by the log alone, so that they cannot fill the audit.
            if refused.after.is_zero() {
                access.note_stranger(from, "authenticate", "a wrong token or cookie");
            }
            refused
        }
        Unknown::Ended => {
            let detail = "this token, link or login was valid and has ended";
            Problem::new(code::UNAUTHORIZED, detail).into()
        }
        Unknown::Missing => Problem::new(code::UNAUTHORIZED, detail).into(),
    })?;
    let visitor = request.conn_data::<Visitor>();
    visitor.map_or(Ok(()), |visitor| visitor.has_rights(&principal, pass)).map_err(|too_many| {
        let problem = Problem::new(code::TOO_MANY_CONNECTIONS, too_many.to_string());
        problem.retry_after(1)
    })?;
    // A browser adds the cookie whichever page makes the request, but then it also sends that
    // page's Origin.
    if shown == Shown::Cookie && !has_origin && has_effect(request) {
        let detail = "a request by cookie that changes something needs an Origin";
        return Err(forbidden_origin(detail).into());
    }
    if shown == Shown::Cookie && !has_origin && is_of_another_page(request.headers()) {
        let detail = "a page of another origin may not use this browser's login";
        return Err(forbidden_origin(detail).into());
    }
    let path = request.match_info().unprocessed();
    // A path that names a machine needs the same right as its path on that machine.
    let of_node = fleet::local_path(path);
    let action = openapi::action(request.method(), of_node.as_deref().unwrap_or(path));
    let action = action.map_err(|_| unserved(request))?;
    let (session, done_to) = (Arc::default(), Arc::default());
    let caller = Caller { principal: Arc::new(principal), pass, action, session, done_to };
    let lease = access.lease(&caller);
    strip_token(request.headers_mut());
    let cause = Cause {
        token: caller.principal.name.clone(),
        token_id: caller.principal.token,
        address: address(request).map(|address| address.to_string()),
    };
    request.extensions_mut().insert(cause);
    request.extensions_mut().insert(caller.clone());
    request.extensions_mut().insert(lease.clone());
    if !action.is_on_session() && action != Action::Create {
        caller.check(action)?;
    }
    Ok((request.path() != login::LOGOUT).then_some(lease))
}

/// The problem of a path, or of a method of one, that the document does not name. No route is
/// served without an action.
fn unserved(request: &ServiceRequest) -> Problem {
    let (method, path) = (request.method(), request.match_info().unprocessed());
    match allowed(method, path) {
        None => Problem::not_found(format!("there is nothing at {path:?}")),
        Some(methods) => {
            let methods = methods.to_str().unwrap_or_default();
            let detail = format!("{path:?} has no {method}, but {methods}");
            Problem::new(code::METHOD_NOT_ALLOWED, detail)
        }
    }
}

/// The methods of a path that does not have this one.
fn allowed(method: &Method, path: &str) -> Option<HeaderValue> {
    let page = || assets::is_public(path).then_some(HeaderValue::from_static("GET, HEAD"));
    openapi::action(method, path).err()?.cloned().or_else(page)
}

/// The peer's address. Headers such as `Forwarded` are ignored, because any client can send them.
fn address(request: &ServiceRequest) -> Option<IpAddr> {
    request.peer_addr().map(|address| address.ip().to_canonical())
}

/// The request's host: exactly one `Host` header with an allowed name. A target in absolute form
/// must agree (RFC 9112, section 3.2.2).
fn asked_host(access: &Access, request: &ServiceRequest) -> Result<allowlist::Authority, Problem> {
    let host = only(request.headers(), header::HOST).and_then(|host| access.hosts.host(host?));
    let host = match request.uri().authority() {
        Some(target) => {
            host.filter(|host| access.hosts.host(target.as_str()).as_ref() == Some(host))
        }
        None => host,
    };
    host.ok_or_else(|| {
        let detail = "the Host header is not one of this server's names (see allowed_hosts)";
        Problem::new(code::FORBIDDEN_HOST, detail)
    })
}

/// Whether there is an Origin. If there is, it must be allowed.
fn check_origin(
    access: &Access,
    headers: &HeaderMap,
    host: &allowlist::Authority,
) -> Result<bool, Problem> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(false);
    }
    match only(headers, header::ORIGIN) {
        Some(Some(origin)) if access.hosts.allows_origin(origin, host) => Ok(true),
        _ => Err(forbidden_origin("this page may not ask this server (see allowed_origins)")),
    }
}

fn forbidden_origin(detail: &str) -> Problem {
    Problem::new(code::FORBIDDEN_ORIGIN, detail)
}

/// A header's value if it is there exactly once; inner `None` if it is not text.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<Option<&str>> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())
}

/// Compares exact paths, so that a similar path does not become public.
fn is_public(request: &ServiceRequest) -> bool {
    let path = request.path();
    match *request.method() {
        Method::GET => path == "/healthz" || assets::is_public(path),
        Method::POST => path == login::LOGIN,
        _ => false,
    }
}

/// Whether the request may change anything: an unsafe method, or a WebSocket.
fn has_effect(request: &ServiceRequest) -> bool {
    !request.method().is_safe() || request.headers().contains_key(header::UPGRADE)
}

/// Whether a request shows a secret, be it in a form that we do not understand: on the unix socket, an
/// empty token must not be taken for none.
fn shows_something(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || has_bearer_protocol(headers)
}

/// Whether the browser says that a page of another origin makes the request, such as one on another
/// port of this host, to which it gives our cookie as well (Fetch Metadata).
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| ![&b"same-origin"[..], b"none"].contains(&site.as_bytes()))
}

/// Gives the framework's own errors (a method that the path does not have, a body too
/// long) our form.
fn as_problem<B>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let status = response.status();
    let headers = response.headers();
    let typed = headers.get(header::CONTENT_TYPE);
    let is_error = status.is_client_error() || status.is_server_error();
    // A handler's own JSON stays as it is, and so does a screen.
    let ours = typed.is_some_and(|typed| !typed.as_bytes().starts_with(b"text/plain"))
        || headers.contains_key(OFFSET);
    if !is_error || ours {
        return response.map_into_left_body();
    }
    let detail = match response.response().error() {
        _ if status == StatusCode::METHOD_NOT_ALLOWED => {
            let request = response.request();
            // The guard has replaced HEAD by GET.
            let is_head = request.extensions().contains::<HeadOnly>();
            let method = if is_head { &Method::HEAD } else { request.method() };
            format!("{method} is not for {}", request.path())
        }
        _ if status.is_server_error() => "the server could not do it".to_owned(),
        Some(error) => error.to_string(),
        None => status.canonical_reason().unwrap_or("refused").to_lowercase(),
    };
    let body = Problem::of_status(status, detail).body();
    // Keeps the headers, such as Allow.
    let mut response = response.map_body(|_, _| EitherBody::right(BoxBody::new(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, problem::CONTENT_TYPE);
    response
}

fn with_headers<B>(mut response: ServiceResponse<B>) -> ServiceResponse<B> {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let request = response.request();
        // The framework's own list lacks `HEAD`.
        if let Some(methods) = allowed(request.method(), request.match_info().unprocessed()) {
            response.headers_mut().insert(header::ALLOW, methods);
        }
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        put_headers(response.headers_mut());
    }
    response
}

fn put_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}
