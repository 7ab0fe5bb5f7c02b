//! A client of the HTTP API, for the verbs.

use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::key::{Key, Listed, sessions};
use super::progress::Progress;
use super::transport;
use crate::config::PathFlags;
use crate::protocol::Session;
use actix_http::Method;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// The timeout of most requests. The longest is a kill, which waits up to 5 s for the tree's end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The timeout of a restart, which ends a tree and then starts a command from a disk that may be
/// slow.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);
/// No call of a tool takes longer than two minutes.
const MCP_TIMEOUT: Duration = Duration::from_secs(130);
/// The longest wait for the first byte of a copy of a large database.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(600);
/// A server that streams a response sends something every 15 s; after three missed times it counts as
/// gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The largest response, in bytes: larger than a full list of sessions.
const BODY_MAX: usize = 64 << 20;

/// The failure of an answer that is not of the shape that is known.
pub(super) const UNEXPECTED: &str = "the server answered something unexpected";

/// A header of a request.
pub(super) type Header = (&'static str, String);

/// Whose sessions a list has.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// Those of the server that is asked.
    Server,
    /// Those of this machine, as it says itself.
    Node(&'a str),
    /// Those of this machine as the server has heard last; those of every machine for `all`.
    Directory(&'a str),
}

/// A part of a list.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) sessions: Vec<Value>,
    next: Option<Value>,
}

/// A client of one server.
pub(super) struct Client {
    endpoint: Endpoint,
    http: awc::Client,
}

/// A response.
pub(super) struct Answer {
    /// HTTP status: 200, 201, 202 …
    pub(super) status: u16,
    /// The header `X-Stayd-Offset`, if the response has it.
    pub(super) offset: Option<u64>,
    /// The header `ETag`, if the response has it.
    pub(super) etag: Option<String>,
    /// The body, empty for none.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Parses the body as JSON.
    pub(super) fn json<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(Failure::doing(UNEXPECTED))
    }

    /// The response if it is a success, otherwise the failure. `asked` is the session, or
    /// what else was asked for.
    fn or_refusal(self, asked: impl Display) -> Result<Answer, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(refusal(self.status, &self.body, &asked))
    }
}

impl Client {
    /// A client of the server that the flags name, or of the state directory's server.
    pub(super) fn find(paths: &PathFlags, flags: &ServerFlags) -> Result<Client, Failure> {
        Client::new(Endpoint::find(paths, flags)?)
    }

    pub(super) fn new(endpoint: Endpoint) -> Result<Client, Failure> {
        let http = transport::client(&endpoint, Some(ANSWER_TIMEOUT))?;
        Ok(Client { endpoint, http })
    }

    /// Every session as the API gives it, newest first: the live ones, or all.
    pub(super) async fn list(&self, of: Of<'_>, ended: bool) -> Result<Vec<Value>, Failure> {
        let mut sessions = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.page(of, ended, cursor.as_deref()).await?;
            sessions.extend(page.sessions);
            let Some(next) = page.next else { return Ok(sessions) };
            cursor = Some(next.as_str().map_or_else(|| next.to_string(), str::to_owned));
        }
    }

    /// A thousand of them, or fewer at the end.
    pub(super) async fn page(
        &self,
        of: Of<'_>,
        ended: bool,
        cursor: Option<&str>,
    ) -> Result<Page, Failure> {
        let (path, node) = match of {
            Of::Server => (sessions(None), None),
            Of::Node(node) => (sessions(Some(node)), None),
            Of::Directory(node) => (sessions(None), Some(node)),
        };
        let more = [
            node.map(|node| format!("&node={node}")),
            ended.then(|| "&all=true".to_owned()),
            cursor.map(|cursor| format!("&cursor={cursor}")),
        ];
        let path = format!("{path}?limit=1000{}", more.into_iter().flatten().collect::<String>());
        self.get_at(&path).await?.json()
    }

    /// The live sessions of the server itself, or all of them.
    pub(super) async fn sessions(&self, ended: bool) -> Result<Vec<Session>, Failure> {
        self.list(Of::Server, ended).await?.iter().map(read).collect()
    }

    /// Sessions with the machine that has each, where that is another one.
    pub(super) async fn listed(&self, of: Of<'_>, ended: bool) -> Result<Vec<Listed>, Failure> {
        let mut listed: Vec<Listed> =
            self.list(of, ended).await?.iter().map(listed).collect::<Result<_, _>>()?;
        let node = match of {
            Of::Server => None,
            Of::Node(node) => Some(node.to_owned()),
            Of::Directory(_) => return Ok(listed),
        };
        listed.iter_mut().for_each(|one| one.node.clone_from(&node));
        Ok(listed)
    }

    /// One session, live or ended.
    pub(super) async fn get<T: for<'de> Deserialize<'de>>(&self, key: &Key) -> Result<T, Failure> {
        self.call(Method::GET, key, "", None).await?.json()
    }

    /// Every change of a session's status, oldest first: the list `transitions`.
    pub(super) async fn transitions(&self, key: &Key) -> Result<Value, Failure> {
        self.call(Method::GET, key, "/transitions", None).await?.json()
    }

    /// The commands that may be started by name, on this machine of the fleet or the server's own: the
    /// list `profiles`.
    pub(super) async fn profiles(&self, node: Option<&str>) -> Result<Value, Failure> {
        let at = node.map_or_else(String::new, |node| format!("/nodes/{node}"));
        match self.get_at(&format!("/api/v1{at}/profiles")).await {
            Ok(answer) => answer.json(),
            // The failure is not about a session.
            Err(Failure::NoSuchSession(_)) => {
                Err(Failure::Other("the server is older and does not tell its profiles".into()))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Runs a session's command again.
    pub(super) async fn restart(&self, key: &Key) -> Result<Answer, Failure> {
        let request = self.request(Method::POST, key, "/restart").timeout(RESTART_TIMEOUT);
        let sent = request.content_type("application/json").send_body("{}").await;
        self.answer(sent).await?.or_refusal(key)
    }

    /// Starts a session: a `CreateSession`, and in a fleet what says on which machine.
    pub(super) async fn create(&self, wanted: &Value) -> Result<Answer, Failure> {
        let _progress = Progress::on("waiting for the command to start");
        let url = format!("{}{}", self.endpoint.url, sessions(None));
        let request = self.endpoint.authorize(self.http.post(url));
        self.answer(request.send_json(wanted).await).await?.or_refusal("")
    }

    /// Checks that the server can do its work; the error says why not.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        self.get_at("/readyz").await.map(drop)
    }

    /// Gives a live session another name, or none.
    pub(super) async fn rename(&self, key: &Key, name: Option<&str>) -> Result<Answer, Failure> {
        self.patch(key, &serde_json::json!({ "name": name })).await
    }

    /// Changes what a live session has.
    pub(super) async fn patch(&self, key: &Key, changes: &Value) -> Result<Answer, Failure> {
        let body = changes.to_string().into_bytes();
        self.call(Method::PATCH, key, "", Some(body)).await
    }

    /// Ends a session; status 202 if its tree was not gone within 5 s.
    pub(super) async fn kill(&self, key: &Key) -> Result<Answer, Failure> {
        self.answer(self.request(Method::DELETE, key, "").send().await).await?.or_refusal(key)
    }

    /// Removes all that is kept of an ended session, unless it has been started again since it was
    /// looked at.
    pub(super) async fn remove(&self, key: &Key) -> Result<Answer, Failure> {
        let seen = self.call(Method::GET, key, "", None).await?;
        let session: Session = seen.json()?;
        if session.status.is_live() {
            return Err(Failure::Other(format!("it still runs; `stayd kill {key}` ends it")));
        }
        let request = self.request(Method::DELETE, key, "?purge=true");
        let request = request.insert_header(("If-Match", seen.etag.unwrap_or_default()));
        self.answer(request.send().await).await?.or_refusal(key)
    }

    /// The retained output. With an offset it begins there, and is refused if any output since then
    /// is gone.
    pub(super) async fn output(&self, key: &Key, offset: Option<u64>) -> Result<Answer, Failure> {
        let from = offset.map_or_else(String::new, |offset| format!("?offset={offset}"));
        self.call(Method::GET, key, &format!("/output{from}"), None).await
    }

    /// A session's screen, in this format.
    pub(super) async fn screen(
        &self,
        key: &Key,
        format: &str,
        scrollback: usize,
    ) -> Result<Vec<u8>, Failure> {
        let path = format!("/screen?format={format}&scrollback={scrollback}");
        Ok(self.call(Method::GET, key, &path, None).await?.body)
    }

    /// Whether the program has enabled application cursor keys.
    pub(super) async fn application_cursor(&self, key: &Key) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        struct Screen {
            modes: Modes,
        }
        #[derive(Deserialize)]
        struct Modes {
            application_cursor: bool,
        }
        let answer = self.call(Method::GET, key, "/screen?format=json", None).await?;
        Ok(answer.json::<Screen>()?.modes.application_cursor)
    }

    /// Waits for a condition, which counts only output after an offset if one is given, at most for
    /// `limit`. Returns the screen at the end, as JSON, and
    /// whether the condition holds.
    pub(super) async fn wait(
        &self,
        key: &Key,
        (condition, after): (&str, &Option<(&'static str, String)>),
        scrollback: usize,
        limit: Duration,
    ) -> Result<(bool, Answer), Failure> {
        let mut query = vec![
            ("format", "json".to_owned()),
            ("wait", condition.to_owned()),
            ("scrollback", scrollback.to_string()),
            ("timeout_ms", limit.as_millis().to_string()),
        ];
        query.extend(after.clone());
        let request = self.request(Method::GET, key, "/screen").timeout(limit + ANSWER_TIMEOUT);
        let request = request.query(&query).map_err(Failure::doing("request"))?;
        let answer = self.answer(request.send().await).await?;
        match answer.status {
            408 => Ok((false, answer)),
            _ => answer.or_refusal(key).map(|answer| (true, answer)),
        }
    }

    /// Types `bytes`, which begin at `offset` of this client's input. Returns the offset up to
    /// which input was accepted, which is less than all if the program does not read.
    pub(super) async fn input(
        &self,
        key: &Key,
        client: &str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Received {
            received: u64,
            #[serde(default)]
            code: String,
        }
        let path = format!("/input?client={client}&offset={offset}");
        let request = self.request(Method::POST, key, &path);
        let request = request.content_type("application/octet-stream");
        let answer = self.answer(request.send_body(bytes.to_vec()).await).await?;
        match answer.json() {
            Ok(Received { received, code }) if code == "input_full" => Ok(received),
            _ => Ok(answer.or_refusal(key)?.json::<Received>()?.received),
        }
    }

    /// Puts a piece of a file into a session's directory. Returns how many bytes of the file have come,
    /// and its path once it is whole.
    pub(super) async fn put(
        &self,
        key: &Key,
        piece: &Piece<'_>,
        bytes: Vec<u8>,
    ) -> Result<(u64, Option<String>), Failure> {
        #[derive(Deserialize)]
        struct Put {
            received: u64,
            path: Option<String>,
        }
        let (offset, total) = (piece.offset.to_string(), piece.total.to_string());
        let query = [("offset", offset.as_str()), ("total", &total)];
        let request = self.request(Method::PUT, key, "/files");
        let request = request.content_type("application/octet-stream");
        let request = request.query(&[&upload(piece)[..], &query].concat());
        let request = request.map_err(Failure::doing("request"))?;
        let answer = self.answer(request.send_body(bytes).await).await?;
        let Put { received, path } = answer.or_refusal(key)?.json()?;
        Ok((received, path))
    }

    /// Removes what has come of a file.
    pub(super) async fn cancel_put(&self, key: &Key, piece: &Piece<'_>) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, key, "/files").query(&upload(piece));
        let request = request.map_err(Failure::doing("request"))?;
        self.answer(request.send().await).await?.or_refusal(key).map(drop)
    }

    /// A file, from a session's directory on, piece by piece.
    pub(super) async fn file(&self, key: &Key, path: &str) -> Result<Pieces, Failure> {
        let request = self.request(Method::GET, key, "/files");
        let request = request.query(&[("path", path)]).map_err(Failure::doing("request"))?;
        let asked = request.get_uri().path_and_query().map_or("", |asked| asked.as_str());
        self.long(asked, key, ANSWER_TIMEOUT).await
    }

    /// A recording, piece by piece.
    pub(super) async fn recording(&self, key: &Key) -> Result<Pieces, Failure> {
        self.long(&format!("{}/recording", key.path()), key, ANSWER_TIMEOUT).await
    }

    /// Subscribes to a session's end. Resolves once the subscription is in force.
    pub(super) async fn events(&self, key: &Key) -> Result<Pieces, Failure> {
        let Key { node, id } = key;
        let at = node.as_ref().map_or_else(String::new, |node| format!("/nodes/{node}"));
        let path = format!("/api/v1{at}/events?session={id}&type=ended");
        let mut events = self.long(&path, key, ANSWER_TIMEOUT).await?;
        // The first piece is the greeting with the position from which events follow.
        events.next().await?;
        Ok(events)
    }

    /// A copy of the database. Resolves once it begins to arrive, which may take a while.
    pub(super) async fn backup(&self) -> Result<Pieces, Failure> {
        self.long("/api/v1/backup", "backup", BACKUP_TIMEOUT).await
    }

    /// A streamed response, which may be endless. Its head must arrive within `within`. `asked`
    /// names the subject of a refusal.
    async fn long(
        &self,
        path: &str,
        asked: impl Display,
        within: Duration,
    ) -> Result<Pieces, Failure> {
        let http = transport::client(&self.endpoint, None)?;
        let url = format!("{}{path}", self.endpoint.url);
        let sent = self.endpoint.authorize(http.get(url)).send();
        let away = |_| Failure::Unreachable("the server does not answer".into());
        let sent = timeout(within, sent).await.map_err(away)?;
        let body = sent.map_err(|e| unreachable(&self.endpoint, &e))?;
        if !body.status().is_success() {
            let answer = self.answer(Ok(body)).await?;
            return Err(refusal(answer.status, &answer.body, &asked));
        }
        Ok(Pieces::of(body))
    }

    /// Passes on a message of the Model Context Protocol. Returns its answer, which is null for a
    /// notification.
    pub(super) async fn mcp(&self, body: Vec<u8>, headers: &[Header]) -> Result<Value, Failure> {
        let url = format!("{}/mcp", self.endpoint.url);
        let mut request = self.endpoint.authorize(self.http.post(url)).timeout(MCP_TIMEOUT);
        for (name, value) in headers {
            request = request.insert_header((*name, value.as_str()));
        }
        let request = request
            .insert_header(("Accept", "application/json, text/event-stream"))
            .content_type("application/json");
        let answer = self.answer(request.send_body(body).await).await?;
        match answer.json() {
            _ if answer.body.is_empty() => Ok(Value::Null),
            // An error of the protocol comes with an error's status, too.
            Ok(message @ Value::Object(_)) if message["jsonrpc"] == "2.0" => Ok(message),
            _ => answer.or_refusal("/mcp").and_then(|answer| answer.json()),
        }
    }

    /// Calls a route of a session; `path` is what follows the session's own.
    async fn call(
        &self,
        method: Method,
        key: &Key,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let request = self.request(method, key, path);
        let _progress = self.waiting_for_server();
        let sent = match json {
            Some(body) => request.content_type("application/json").send_body(body).await,
            None => request.send().await,
        };
        self.answer(sent).await?.or_refusal(key)
    }

    /// Requests something that is not about one session.
    pub(super) async fn get_at(&self, path: &str) -> Result<Answer, Failure> {
        let url = format!("{}{path}", self.endpoint.url);
        let _progress = self.waiting_for_server();
        let sent = self.endpoint.authorize(self.http.get(url)).send().await;
        self.answer(sent).await?.or_refusal(path)
    }

    /// Calls a route that is not about one session, with a JSON body if there is one. An answer
    /// without a body is null.
    pub(super) async fn call_at(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        self.call_with(method, path, &[], body).await
    }

    /// The same with a query.
    pub(super) async fn call_with(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.endpoint.url);
        let mut request = self.endpoint.authorize(self.http.request(method, url));
        if !query.is_empty() {
            request = request.query(&query).map_err(Failure::doing("request"))?;
        }
        let _progress = self.waiting_for_server();
        let sent = match body {
            Some(body) => request.send_json(&body).await,
            None => request.send().await,
        };
        let answer = self.answer(sent).await?;
        let answer = match answer.status {
            // What is missing need not be a session: the server's words say what is.
            404 => return Err(missing(&answer.body)),
            _ => answer.or_refusal(path)?,
        };
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    fn waiting_for_server(&self) -> Progress {
        Progress::on(format!("waiting for {}", self.endpoint.at()))
    }

    fn request(&self, method: Method, key: &Key, path: &str) -> awc::ClientRequest {
        let url = format!("{}{}{path}", self.endpoint.url, key.path());
        self.endpoint.authorize(self.http.request(method, url))
    }

    /// The whole response, whatever its status.
    async fn answer<S>(
        &self,
        sent: Result<awc::ClientResponse<S>, SendRequestError>,
    ) -> Result<Answer, Failure>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    {
        let mut response = sent.map_err(|e| unreachable(&self.endpoint, &e))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let offset = header("X-Stayd-Offset").and_then(|offset| offset.parse().ok());
        let etag = header("ETag").map(str::to_owned);
        let body = response.body().limit(BODY_MAX).await;
        let broke_off = |e| Failure::Unreachable(format!("the server's answer broke off: {e}"));
        let body = body.map_err(broke_off)?.to_vec();
        Ok(Answer { status: response.status().as_u16(), offset, etag, body })
    }
}

/// A piece of a file, as the server takes it.
pub(super) struct Piece<'a> {
    pub(super) name: &'a str,
    /// The upload's own name, by which it goes on.
    pub(super) upload: &'a str,
    pub(super) offset: u64,
    pub(super) total: u64,
    pub(super) apart: bool,
}

/// The query that says which upload it is about.
fn upload<'a>(piece: &Piece<'a>) -> [(&'static str, &'a str); 3] {
    let apart = if piece.apart { "true" } else { "false" };
    [("name", piece.name), ("upload", piece.upload), ("apart", apart)]
}

/// The body of an answer, received piece by piece.
pub(super) struct Pieces {
    /// The length in bytes, if the server has sent it.
    pub(super) length: Option<u64>,
    body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
}

impl Pieces {
    pub(super) fn of<S>(body: awc::ClientResponse<S>) -> Self
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
    {
        let length = body.headers().get("Content-Length");
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Pieces { length, body: Box::pin(body) }
    }

    /// The next piece; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let broke_off = |e| Failure::Unreachable(format!("the server's answer broke off: {e}"));
        let away = |_| Failure::Unreachable("the server does not go on".into());
        let piece = timeout(SILENCE_MAX, self.body.next()).await.map_err(away)?;
        piece.transpose().map_err(broke_off)
    }
}

/// An answer, or a part of it, in a known shape.
pub(super) fn read<T: for<'de> Deserialize<'de>>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(Failure::doing(UNEXPECTED))
}

/// A session as the API gives it, with its machine.
pub(super) fn listed(answer: &Value) -> Result<Listed, Failure> {
    Ok(Listed { node: answer["node"].as_str().map(str::to_owned), session: read(answer)? })
}

/// The failure of a connection: there is no server, or something else, or it is not trusted.
pub(super) fn unreachable(endpoint: &Endpoint, e: &SendRequestError) -> Failure {
    let at = endpoint.at();
    if let SendRequestError::Connect(ConnectError::Io(e)) = e {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, NotFound, PermissionDenied};
        match e.kind() {
            ConnectionRefused | AddrNotAvailable => return Failure::NoServer { at },
            // A server that is starting has no socket yet.
            NotFound if endpoint.server.is_some() => return Failure::NoServer { at },
            PermissionDenied if endpoint.server.is_some() => {
                return Failure::Other(format!("{at}: {e}"));
            }
            _ => {}
        }
        if let Some(failure) = transport::distrust(&at, e) {
            return failure;
        }
    }
    Failure::Unreachable(format!("the server at {at} cannot be reached: {e}"))
}

/// The failure that a refusal means, in the server's own words (RFC 9457) or as the bare status.
fn refusal(status: u16, body: &[u8], asked: &dyn Display) -> Failure {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if status == 404 && (problem.code == "not_found" || problem.code.is_empty()) {
        return Failure::NoSuchSession(asked.to_string());
    }
    if problem.code == "unknown_node" {
        return Failure::UnknownNode(detail_of(body, status));
    }
    // Otherwise the server's own message is meant for authors of requests.
    if problem.code == "unauthorized" && !problem.detail.ends_with("has ended") {
        let detail = "the server does not accept this token; see --token, STAYD_TOKEN, --state-dir";
        return Failure::Refused { code: problem.code, detail: detail.into() };
    }
    Failure::Refused { detail: detail_of(body, status), code: problem.code }
}

/// The failure of a 404 that need not be about a session.
fn missing(body: &[u8]) -> Failure {
    match refusal(404, body, &"") {
        failure @ Failure::UnknownNode(_) => failure,
        _ => Failure::Other(detail_of(body, 404)),
    }
}

/// What a refusal says (RFC 9457).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    title: String,
    detail: String,
}

/// The server's own words of a refusal, or what its status means.
fn detail_of(body: &[u8], status: u16) -> String {
    match serde_json::from_slice(body).unwrap_or_default() {
        Problem { detail, .. } if !detail.is_empty() => detail,
        Problem { title, .. } if !title.is_empty() => title,
        _ if is_for_https(status, body) => {
            format!("the server answered {status}; perhaps https:// is meant")
        }
        _ => format!("the server answered {status}"),
    }
}

/// Whether a proxy refused or redirected the request because it came without TLS.
fn is_for_https(status: u16, body: &[u8]) -> bool {
    (300..400).contains(&status) || status == 400 && memchr::memmem::find(body, b"HTTPS").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let body = br#"{"title":"Conflict","code":"name_taken","detail":"a session has it"}"#;
        let refused = refusal(409, body, &"");
        assert_eq!(refused.to_string(), "a session has it");
        assert_eq!(refused.exit_code(), 1);
        assert!(matches!(refused, Failure::Refused { code, .. } if code == "name_taken"));
        assert_eq!(refusal(404, br#"{"code":"not_found"}"#, &"abc").exit_code(), 3);
        let unknown = br#"{"code":"unknown_node","detail":"no machine has the name x"}"#;
        for refused in [refusal(404, unknown, &"x/abc"), missing(unknown)] {
            assert_eq!(
                (refused.exit_code(), &*refused.to_string()),
                (3, "no machine has the name x")
            );
        }
        let offline = br#"{"code":"node_offline","detail":"x is offline"}"#;
        assert_eq!(refusal(503, offline, &"x/abc").node_away(), Some("x is offline"));
        assert_eq!(refusal(502, b"<html>", &"").to_string(), "the server answered 502");
        // The messages of nginx and of Go's servers.
        let at_tls = [
            &b"<title>400 The plain HTTP request was sent to HTTPS port</title>"[..],
            b"Client sent an HTTP request to an HTTPS server.\n",
        ];
        for body in at_tls {
            assert!(refusal(400, body, &"").to_string().contains("https://"));
        }
        assert!(refusal(308, b"", &"").to_string().contains("https://"));
        assert!(!refusal(400, b"Bad Request", &"").to_string().contains("https://"));
    }
}
