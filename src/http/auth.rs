//! Authentication: the token, the login cookie, and where each is accepted.

use super::allowlist::{Hosts, HostsError};
use super::api::by_itself;
use super::audit;
use super::caller::Caller;
use super::guesses::Guesses;
use super::lease::{CHECK_EVERY, Lease, Leases};
use super::problem::Problem;
use crate::audit::{Audit, Doing, How};
use crate::config::BasePath;
use crate::connections::{Connections, Visitor, subscriber};
use crate::protocol::Cause;
use crate::rights::{Grants, GrantsError, Kind, Pass, Principal};
use crate::store::Outcome;
use actix_web::HttpMessage;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::rt::time::{interval, sleep};
use actix_web::{HttpRequest, web};
use slog::Logger;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The interval at which failed attempts are logged.
const REPORT: Duration = Duration::from_secs(1);
/// The cookies of our name that are looked at; a browser sends one.
const COOKIES_MAX: usize = 8;
/// The prefix of the WebSocket subprotocol that carries the token.
const BEARER_PROTOCOL: &str = "bearer.";

/// All rules of authentication; one instance for the whole server.
pub struct Access {
    pub(super) grants: Arc<Grants>,
    pub(super) hosts: Hosts,
    pub(super) guesses: Guesses,
    leases: Leases,
    /// `None` in tests.
    pub(super) audit: Option<Audit>,
    cookie: String,
    page: String,
    base: BasePath,
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The request has neither a token nor a cookie.
    Missing,
    /// The token or login is not valid.
    Wrong,
    /// The token, link or login was valid and has ended.
    Ended,
}

/// How a request has shown its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// In a header, which no page of another site can send.
    Header,
    /// In a cookie, which a browser adds by itself whichever page makes the request.
    Cookie,
}

/// Whom a request speaks for, and its proof.
pub(super) type Credential = (Principal, Pass, Shown);

impl Access {
    /// `listen` are the addresses as bound; the cookie's name carries the first one's port,
    /// since browsers do not keep the cookies of a host's ports apart.
    ///
    /// # Errors
    /// Names the entry of the settings that is not a host or an origin.
    pub fn new(
        grants: impl Into<Arc<Grants>>,
        listen: &[SocketAddr],
        allowed_hosts: &[String],
        allowed_origins: &[String],
    ) -> Result<Access, HostsError> {
        let port = listen.first().map_or(0, SocketAddr::port);
        Ok(Access {
            grants: grants.into(),
            hosts: Hosts::new(listen, allowed_hosts, allowed_origins)?,
            guesses: Guesses::default(),
            leases: Leases::default(),
            audit: None,
            cookie: format!("stayd-{port}"),
            page: listen.first().map_or_else(String::new, |address| page(*address)),
            base: BasePath::default(),
        })
    }

    /// This access for a server whose page a proxy shows below a path.
    #[must_use]
    pub fn below(self, base: BasePath) -> Access {
        Access { base, ..self }
    }

    /// The same where the addresses speak TLS.
    #[must_use]
    pub fn over_tls(self, is_encrypted: bool) -> Access {
        let scheme = if is_encrypted { "https" } else { "http" };
        let page = self.page.replacen("http", scheme, 1);
        Access { page, ..self }
    }

    /// The login cookie's name.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.cookie
    }

    /// The page's address, with a fragment, which browsers do not send.
    #[must_use]
    pub fn page(&self, fragment: &str) -> String {
        format!("{}{}/#{fragment}", self.page, self.base.as_str())
    }

    /// The page's address as the client of a request reaches it.
    pub(super) fn page_for(&self, request: &HttpRequest, fragment: &str) -> String {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        // The guard has found both to be this server's.
        let base = text(header::ORIGIN).map(str::to_owned);
        let visitor = request.conn_data::<Visitor>();
        if visitor.is_some_and(|visitor| visitor.visit().is_some()) {
            // The client has another machine's address.
            return self.page(fragment);
        }
        let is_encrypted = visitor.is_some_and(Visitor::is_encrypted);
        let scheme = if is_encrypted { "https" } else { "http" };
        let base = base.or_else(|| Some(format!("{scheme}://{}", text(header::HOST)?)));
        match base.filter(|_| request.peer_addr().is_some()) {
            Some(base) => format!("{base}{}/#{fragment}", self.base.as_str()),
            None => self.page(fragment),
        }
    }

    /// Writes requests down in this log.
    #[must_use]
    pub fn audited(self, audit: Audit) -> Access {
        Access { audit: Some(audit), ..self }
    }

    /// Writes down what became of a request that had rights.
    pub(super) fn note(&self, request: &HttpRequest, status: StatusCode) {
        let extensions = request.extensions();
        let (caller, cause) = (extensions.get::<Caller>(), extensions.get::<Cause>());
        if let (Some(audit), Some(caller), Some(cause)) = (&self.audit, caller, cause) {
            audit::note(audit, caller, cause, status);
        }
    }

    /// Writes down a refusal of somebody whom nobody knows.
    pub(super) fn note_stranger(&self, from: Option<IpAddr>, action: &str, detail: &str) {
        if let Some(audit) = &self.audit {
            audit.note_stranger(from.map(|address| address.to_string()), action, detail);
        }
    }

    /// Writes down what a process inside a session was refused.
    pub(super) fn note_inside(&self, name: String, action: &'static str) {
        let Some(audit) = &self.audit else { return };
        let cause = Cause { token: name, token_id: None, address: None };
        if audit.is_first(Doing::new(&cause, action, None, How::NotDone(403))) {
            let detail = Some("by a process inside a session".to_owned());
            audit.note(Some(&cause), action, None, Outcome::Refused, detail);
        }
    }

    /// Writes down that somebody has logged in or out. Each of the owner's logins is an entry; of
    /// others it is one in a while for each address, as one secret logs in without end.
    pub(super) fn note_login(&self, who: &Principal, from: Option<IpAddr>, action: &'static str) {
        let Some(audit) = &self.audit else { return };
        let address = from.map(|address| address.to_string());
        let cause = Cause { token: who.name.clone(), token_id: who.token, address };
        let how = How::DoneFrom(from.map(subscriber));
        if who.kind == Kind::Owner || audit.is_first(Doing::new(&cause, action, None, how)) {
            audit.note(Some(&cause), action, None, Outcome::Done, None);
        }
    }

    /// A link to the page that logs in as the owner, once, within ten minutes.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn link(&self) -> Result<String, GrantsError> {
        let (_, owner) = Grants::owner();
        let (code, _) = self.grants.issue_code(&owner)?;
        Ok(self.page(&format!("code={code}")))
    }

    /// Whom a request speaks for, and its proof. A token goes before a cookie: a wrong token is
    /// not made good by a cookie, nor by another token.
    ///
    /// # Errors
    /// Tells a missing token from a wrong one.
    pub(super) fn credential(&self, headers: &HeaderMap) -> Result<Credential, Unknown> {
        let mut tokens = bearer_headers(headers).chain(bearer_protocols(headers));
        if let Some(first) = tokens.next() {
            let found = self.grants.by_secret(first);
            let (principal, pass) = found.ok_or_else(|| self.unknown(first))?;
            let agreed = tokens.all(|token| token == first);
            return if agreed { Ok((principal, pass, Shown::Header)) } else { Err(Unknown::Wrong) };
        }
        let mut unknown = Unknown::Missing;
        for cookie in self.cookies(headers) {
            match self.grants.by_cookie(cookie) {
                Some((principal, pass)) => return Ok((principal, pass, Shown::Cookie)),
                None => unknown = self.unknown(cookie),
            }
        }
        Err(unknown)
    }

    fn unknown(&self, secret: &str) -> Unknown {
        if self.grants.has_ended(secret) { Unknown::Ended } else { Unknown::Wrong }
    }

    /// Logs wrong tokens, once a second.
    pub async fn report(access: web::Data<Access>, log: Logger) {
        let mut every = interval(REPORT);
        loop {
            every.tick().await;
            access.guesses.log(&log);
        }
    }

    /// The lease of an authenticated request.
    pub(super) fn lease(&self, caller: &Caller) -> Lease {
        if caller.principal.may_lose_sessions() {
            self.leases.open_alone(caller.pass)
        } else {
            self.leases.open(caller.pass)
        }
    }

    /// Ends the leases of removed tokens, ended links, expired logins, and of sessions that have left
    /// a scope, now.
    pub(super) fn check_leases(&self) {
        self.leases.check(|pass| self.grants.why_ended(pass));
    }

    /// Does so repeatedly while the server runs: tokens, links and logins expire. Connections over
    /// which they have come are strangers' then. Writes what could not be written before.
    pub async fn keep_checking_leases(&self, connections: &Connections) {
        loop {
            sleep(CHECK_EVERY).await;
            self.check_leases();
            connections.forget_ended(|pass| self.grants.why_ended(pass).is_some());
            self.grants.tidy().await;
        }
    }

    /// The login secrets in the request's cookies.
    pub(super) fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        texts(headers, header::COOKIE)
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| {
                let (name, value) = cookie.split_once('=')?;
                (name.trim() == self.cookie).then_some(value.trim())
            })
            .take(COOKIES_MAX)
    }
}

/// Does something to the grants in a task of its own: a client that hangs up meanwhile must not leave
/// half of it done.
pub(super) async fn to_the_end<T: 'static>(
    change: impl Future<Output = Result<T, GrantsError>> + 'static,
) -> Result<T, Problem> {
    by_itself(change).await?.map_err(Problem::from)
}

/// The address of the page for a person on this machine.
fn page(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

fn texts(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).filter_map(|value| value.to_str().ok())
}

/// The token of a `Bearer` header. Other schemes, such as a proxy's Basic, are ignored.
fn bearer_headers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    texts(headers, header::AUTHORIZATION).filter_map(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    })
}

/// Whether a WebSocket's subprotocols carry a token.
pub(super) fn has_bearer_protocol(headers: &HeaderMap) -> bool {
    bearer_protocols(headers).next().is_some()
}

fn bearer_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    protocols(headers).filter_map(|protocol| protocol.strip_prefix(BEARER_PROTOCOL))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    texts(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}

/// Takes the token out of a request, so that nothing behind the guard can log or echo it.
pub(super) fn strip_token(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    if bearer_protocols(headers).next().is_none() {
        return;
    }
    let others: Vec<&str> =
        protocols(headers).filter(|protocol| !protocol.starts_with(BEARER_PROTOCOL)).collect();
    let others = HeaderValue::from_str(&others.join(", "));
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Ok(others) = others
        && !others.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "secret-secret-secret";

    fn access() -> Access {
        let listen = ["127.0.0.1:7829".parse().unwrap()];
        Access::new(Grants::in_memory(TOKEN), &listen, &[], &[]).unwrap()
    }

    async fn log_in(access: &Access) -> String {
        let (_, pass) = access.grants.by_secret(TOKEN).unwrap();
        access.grants.log_in(&pass).await.unwrap().cookie
    }

    fn shown(access: &Access, headers: &HeaderMap) -> Result<Shown, Unknown> {
        access.credential(headers).map(|(principal, _, shown)| {
            assert_eq!(principal, Principal::owner());
            shown
        })
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = header::HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[actix_web::test]
    async fn the_token_comes_in_three_ways() {
        let access = access();
        let login = log_in(&access).await;
        let cookie = format!("theme=dark; stayd-7829={login}; stayd-80=x");
        for (header, credential) in [
            (("authorization", "Bearer secret-secret-secret"), Shown::Header),
            (("authorization", "bearer  secret-secret-secret"), Shown::Header),
            (("sec-websocket-protocol", "stayd.v1, bearer.secret-secret-secret"), Shown::Header),
            (("cookie", &*cookie), Shown::Cookie),
        ] {
            assert_eq!(shown(&access, &headers(&[header])), Ok(credential), "{header:?}");
        }
        let two = [
            ("sec-websocket-protocol", "stayd.v1"),
            ("sec-websocket-protocol", "x,bearer.secret-secret-secret"),
        ];
        assert_eq!(shown(&access, &headers(&two)), Ok(Shown::Header));
    }

    #[actix_web::test]
    async fn nothing_else_does() {
        let access = access();
        let login = log_in(&access).await;
        for pair in [
            ("authorization", "Bearer"),
            ("authorization", "secret-secret-secret"),
            ("authorization", "Basic secret-secret-secret"),
            ("sec-websocket-protocol", "secret-secret-secret"),
            ("cookie", &*format!("stayd-80={login}")),
        ] {
            assert_eq!(shown(&access, &headers(&[pair])), Err(Unknown::Missing), "{pair:?}");
        }
        for pair in [
            ("authorization", "Bearer wrong"),
            ("authorization", "Bearer secret-secret-secre"),
            ("sec-websocket-protocol", "bearer."),
            ("sec-websocket-protocol", "stayd.v1, bearer.wrong"),
            ("cookie", "stayd-7829=secret-secret-secret"),
            ("cookie", "stayd-7829="),
        ] {
            assert_eq!(shown(&access, &headers(&[pair])), Err(Unknown::Wrong), "{pair:?}");
        }
        let cookie = format!("stayd-7829={login}");
        let wrong_and_cookie = [("authorization", "Bearer wrong"), ("cookie", &*cookie)];
        assert_eq!(shown(&access, &headers(&wrong_and_cookie)), Err(Unknown::Wrong));
        let basic_and_cookie = [("authorization", "Basic proxy"), ("cookie", &*cookie)];
        assert_eq!(shown(&access, &headers(&basic_and_cookie)), Ok(Shown::Cookie));
    }

    #[test]
    fn the_token_goes_no_further() {
        let mut request = headers(&[
            ("authorization", "Bearer secret-secret-secret"),
            ("sec-websocket-protocol", "bearer.secret-secret-secret, stayd.v1"),
            ("sec-websocket-protocol", "raw.v1"),
        ]);
        strip_token(&mut request);
        assert!(!format!("{request:?}").contains("secret-secret"));
        let left: Vec<_> = request.get_all("sec-websocket-protocol").collect();
        assert_eq!(left, ["stayd.v1, raw.v1"]);
        let mut alone = headers(&[("sec-websocket-protocol", "bearer.secret-secret-secret")]);
        strip_token(&mut alone);
        assert!(alone.is_empty());
    }
}
