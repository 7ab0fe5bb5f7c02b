//! The HTTP API, as the verbs use it.

use super::endpoint::Endpoint;
use super::failure::Failure;
use crate::protocol::{CreateSession, Session};
use actix_http::Method;
use awc::error::{ConnectError, SendRequestError};
use serde::Deserialize;
use serde_json::Value;
use std::io;
use std::time::Duration;

/// A kill waits up to 5 s for the tree's end; nothing else takes that long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// More than a full list of sessions takes.
const BODY_MAX: usize = 64 << 20;

/// A client of one server.
pub(super) struct Client {
    endpoint: Endpoint,
    http: awc::Client,
}

/// A successful answer.
pub(super) struct Answer {
    /// HTTP status: 200, 201, 202 …
    pub(super) status: u16,
    /// The body, empty for none.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON of a known shape.
    pub(super) fn json<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Failure> {
        let unexpected = "the server answered something unexpected";
        serde_json::from_slice(&self.body).map_err(Failure::doing(unexpected))
    }
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Client {
        let http = awc::Client::builder().timeout(ANSWER_TIMEOUT).disable_redirects().finish();
        Client { endpoint, http }
    }

    /// Every session, as the API gives them: the live ones, or all.
    pub(super) async fn list(&self, ended: bool) -> Result<Vec<Value>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            sessions: Vec<Value>,
            next: Option<Value>,
        }
        let mut sessions = Vec::new();
        let all = if ended { "?all=true" } else { "?" };
        let mut path = String::from(all);
        loop {
            let page: Page = self.call(Method::GET, &path, None).await?.json()?;
            sessions.extend(page.sessions);
            let Some(next) = page.next else { return Ok(sessions) };
            let next = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
            path = format!("{all}&cursor={next}");
        }
    }

    /// The live sessions.
    pub(super) async fn live(&self) -> Result<Vec<Session>, Failure> {
        let unexpected = "the server answered something unexpected";
        let sessions = self.list(false).await?;
        sessions
            .into_iter()
            .map(|session| serde_json::from_value(session).map_err(Failure::doing(unexpected)))
            .collect()
    }

    /// One session, live or ended.
    pub(super) async fn get(&self, id: &str) -> Result<Session, Failure> {
        self.call(Method::GET, &format!("/{id}"), None).await?.json()
    }

    /// Starts a session.
    pub(super) async fn create(&self, wanted: &CreateSession) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(wanted).map_err(Failure::doing("request"))?;
        self.call(Method::POST, "", Some(body)).await
    }

    /// Ends a session; status 202 if its tree was not gone within 5 s.
    pub(super) async fn kill(&self, id: &str) -> Result<Answer, Failure> {
        self.call(Method::DELETE, &format!("/{id}"), None).await
    }

    /// The output that is still kept, if it is kept from its first byte on.
    pub(super) async fn whole_output(&self, id: &str) -> Result<Vec<u8>, Failure> {
        Ok(self.call(Method::GET, &format!("/{id}/output?offset=0"), None).await?.body)
    }

    /// `path` is what follows `/api/v1/sessions`.
    async fn call(
        &self,
        method: Method,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/api/v1/sessions{path}", self.endpoint.url);
        let request = self.http.request(method, url).bearer_auth(&self.endpoint.token);
        let sent = match json {
            Some(body) => request.content_type("application/json").send_body(body).await,
            None => request.send().await,
        };
        let mut response = sent.map_err(|e| unreachable(&self.endpoint.url, &e))?;
        let status = response.status();
        let body = response.body().limit(BODY_MAX).await;
        let body = body.map_err(Failure::doing("the server's answer broke off"))?;
        if status.is_success() {
            return Ok(Answer { status: status.as_u16(), body: body.to_vec() });
        }
        Err(refusal(status.as_u16(), &body, path))
    }
}

/// Nobody there, or something that is not a server.
pub(super) fn unreachable(url: &str, e: &SendRequestError) -> Failure {
    let refused = match e {
        SendRequestError::Connect(ConnectError::Io(e)) => {
            matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable)
        }
        _ => false,
    };
    if refused {
        return Failure::NoServer { at: url.into() };
    }
    Failure::Other(format!("the server at {url} cannot be asked: {e}"))
}

/// A refusal in the server's own words (RFC 9457), or the bare status.
fn refusal(status: u16, body: &[u8], path: &str) -> Failure {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Problem {
        code: String,
        title: String,
        detail: String,
    }
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if status == 404 && (problem.code == "not_found" || problem.code.is_empty()) {
        return Failure::NoSuchSession(path.trim_start_matches('/').into());
    }
    let detail = match problem {
        Problem { ref detail, .. } if !detail.is_empty() => detail.clone(),
        Problem { ref title, .. } if !title.is_empty() => title.clone(),
        _ => format!("the server answered {status}"),
    };
    Failure::Refused { code: problem.code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let body = br#"{"title":"Conflict","code":"name_taken","detail":"a session has it"}"#;
        let refused = refusal(409, body, "");
        assert_eq!(refused.to_string(), "a session has it");
        assert_eq!(refused.exit_code(), 1);
        assert!(matches!(refused, Failure::Refused { code, .. } if code == "name_taken"));
        assert_eq!(refusal(404, br#"{"code":"not_found"}"#, "/abc").exit_code(), 3);
        assert_eq!(refusal(502, b"<html>", "").to_string(), "the server answered 502");
    }
}
