//! Authentication: the token, the login cookie, and where each is accepted.

use super::allowlist::{Hosts, HostsError};
use super::guesses::Guesses;
use super::lease::{CHECK_EVERY, Lease, Leases, Pass};
use super::logins::Logins;
use super::token::{Principal, Token};
use super::tokens::Tokens;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::rt::time::{interval, sleep};
use actix_web::web;
use slog::{Logger, info, warn};
use std::net::SocketAddr;
use std::time::Duration;

/// The interval at which failed attempts are logged.
const REPORT: Duration = Duration::from_secs(1);
/// The prefix of the WebSocket subprotocol that carries the token.
const BEARER_PROTOCOL: &str = "bearer.";

/// All rules of authentication; one instance for the whole server.
pub struct Access {
    pub(super) tokens: Tokens,
    pub(super) logins: Logins,
    pub(super) hosts: Hosts,
    pub(super) guesses: Guesses,
    leases: Leases,
    cookie: String,
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The request has neither a token nor a cookie.
    Missing,
    /// The token or login is not, or no longer, valid.
    Wrong,
}

/// The proof that authenticated a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// The token itself, which no page of another site can have.
    Token,
    /// A cookie, which a browser adds by itself whichever page makes the request: the id of this
    /// login.
    Cookie(String),
}

impl Access {
    /// `listen` are the addresses as bound; the cookie's name carries the first one's port,
    /// since browsers do not keep the cookies of a host's ports apart.
    ///
    /// # Errors
    /// Names the entry of the settings that is not a host or an origin.
    pub fn new(
        tokens: Tokens,
        logins: Logins,
        listen: &[SocketAddr],
        allowed_hosts: &[String],
        allowed_origins: &[String],
    ) -> Result<Access, HostsError> {
        let port = listen.first().map_or(0, SocketAddr::port);
        Ok(Access {
            tokens,
            logins,
            hosts: Hosts::new(listen, allowed_hosts, allowed_origins)?,
            guesses: Guesses::default(),
            leases: Leases::default(),
            cookie: format!("stayd-{port}"),
        })
    }

    /// The main token.
    pub fn token(&self) -> &Token {
        self.tokens.main()
    }

    /// The login cookie's name.
    pub fn cookie_name(&self) -> &str {
        &self.cookie
    }

    /// The principal of a request, and its proof. A token goes before a cookie: a wrong token is
    /// not made good by a cookie, nor by another token.
    ///
    /// # Errors
    /// Tells a missing token from a wrong one.
    pub(super) fn credential(
        &self,
        headers: &HeaderMap,
    ) -> Result<(Principal, Credential), Unknown> {
        let mut tokens = bearer_headers(headers).chain(bearer_protocols(headers));
        if let Some(first) = tokens.next() {
            let principal = self.tokens.principal(first).ok_or(Unknown::Wrong)?;
            let agreed =
                tokens.all(|token| self.tokens.principal(token).as_ref() == Some(&principal));
            return if agreed { Ok((principal, Credential::Token)) } else { Err(Unknown::Wrong) };
        }
        let mut unknown = Unknown::Missing;
        for id in self.cookies(headers) {
            match self.logged_in(id) {
                Some(principal) => return Ok((principal, Credential::Cookie(id.to_owned()))),
                None => unknown = Unknown::Wrong,
            }
        }
        Err(unknown)
    }

    /// Logs wrong tokens, and failures to read the file of tokens, once a second.
    pub async fn report(access: web::Data<Access>, log: Logger) {
        let mut told = None;
        let mut every = interval(REPORT);
        loop {
            every.tick().await;
            access.guesses.log(&log);
            let failure = access.tokens.failure();
            if failure != told {
                match &failure {
                    Some(error) => warn!(log, "the tokens cannot be read: those that were known \
                        before are accepted"; "error" => error),
                    None => info!(log, "the tokens can be read again"),
                }
                told = failure;
            }
        }
    }

    /// The principal of a login. The login ends with the token that it was made with.
    fn logged_in(&self, id: &str) -> Option<Principal> {
        self.tokens.by_fingerprint(&self.logins.token_of(id)?)
    }

    /// The lease of an authenticated request. `None`: the token or login has ended since.
    pub(super) fn lease(&self, principal: &Principal, credential: Credential) -> Option<Lease> {
        let token = self.tokens.fingerprint(principal)?;
        let login = match credential {
            Credential::Token => None,
            Credential::Cookie(id) => Some(id),
        };
        Some(self.leases.open(Pass { token, login }))
    }

    /// Ends the leases of removed tokens and expired logins now.
    pub(super) fn check_leases(&self) {
        self.leases.check(|pass| match &pass.login {
            _ if self.tokens.by_fingerprint(&pass.token).is_none() => {
                Some("the token is no longer valid")
            }
            Some(id) if self.logins.token_of(id).is_none() => Some("the login has ended"),
            _ => None,
        });
    }

    /// Does so repeatedly while the server runs: another process may remove a token, and logins
    /// expire.
    pub async fn keep_checking_leases(&self) {
        loop {
            sleep(CHECK_EVERY).await;
            self.check_leases();
        }
    }

    /// The login ids in the request's cookies.
    pub(super) fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        texts(headers, header::COOKIE).flat_map(|cookies| cookies.split(';')).filter_map(|cookie| {
            let (name, value) = cookie.split_once('=')?;
            (name.trim() == self.cookie).then_some(value.trim())
        })
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

    fn access() -> Access {
        let listen = ["127.0.0.1:7829".parse().unwrap()];
        let token = Token::new("secret-secret-secret").unwrap();
        Access::new(Tokens::only(token), Logins::in_memory(), &listen, &[], &[]).unwrap()
    }

    fn owner(credential: Credential) -> Result<(Principal, Credential), Unknown> {
        Ok((Principal::owner(), credential))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = header::HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_token_comes_in_three_ways() {
        let access = access();
        let login = access.logins.issue(&access.token().fingerprint()).unwrap();
        let cookie = format!("theme=dark; stayd-7829={login}; stayd-80=x");
        for (header, credential) in [
            (("authorization", "Bearer secret-secret-secret"), Credential::Token),
            (("authorization", "bearer  secret-secret-secret"), Credential::Token),
            (
                ("sec-websocket-protocol", "stayd.v1, bearer.secret-secret-secret"),
                Credential::Token,
            ),
            (("cookie", &*cookie), Credential::Cookie(login.clone())),
        ] {
            assert_eq!(access.credential(&headers(&[header])), owner(credential), "{header:?}");
        }
        let two = [
            ("sec-websocket-protocol", "stayd.v1"),
            ("sec-websocket-protocol", "x,bearer.secret-secret-secret"),
        ];
        assert_eq!(access.credential(&headers(&two)), owner(Credential::Token));
    }

    #[test]
    fn nothing_else_does() {
        let access = access();
        let login = access.logins.issue(&access.token().fingerprint()).unwrap();
        for pair in [
            ("authorization", "Bearer"),
            ("authorization", "secret-secret-secret"),
            ("authorization", "Basic secret-secret-secret"),
            ("sec-websocket-protocol", "secret-secret-secret"),
            ("cookie", &*format!("stayd-80={login}")),
        ] {
            assert_eq!(access.credential(&headers(&[pair])), Err(Unknown::Missing), "{pair:?}");
        }
        for pair in [
            ("authorization", "Bearer wrong"),
            ("authorization", "Bearer secret-secret-secre"),
            ("sec-websocket-protocol", "bearer."),
            ("sec-websocket-protocol", "stayd.v1, bearer.wrong"),
            ("cookie", "stayd-7829=secret-secret-secret"),
            ("cookie", "stayd-7829="),
        ] {
            assert_eq!(access.credential(&headers(&[pair])), Err(Unknown::Wrong), "{pair:?}");
        }
        let cookie = format!("stayd-7829={login}");
        let wrong_and_cookie = [("authorization", "Bearer wrong"), ("cookie", &*cookie)];
        assert_eq!(access.credential(&headers(&wrong_and_cookie)), Err(Unknown::Wrong));
        let basic_and_cookie = [("authorization", "Basic proxy"), ("cookie", &*cookie)];
        assert_eq!(
            access.credential(&headers(&basic_and_cookie)),
            owner(Credential::Cookie(login))
        );
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
