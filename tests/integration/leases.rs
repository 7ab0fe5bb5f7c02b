//! What somebody has opened ends with the token or the login that it was opened with.

use crate::cli::verb;
use crate::support::shim::Clock;
use crate::support::{Api, Server, Socket, soon};
use actix_web::rt::task::JoinHandle;
use actix_web::web::Bytes;
use awc::error::PayloadError;
use awc::http::Method;
use awc::ws::Frame;
use awc::{ClientRequest, ClientResponse};
use futures_util::{SinkExt, Stream, StreamExt};
use serde_json::{Value, json};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// How long after a right has gone something may still be open.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the database, so that a copy of it is not sent before anybody has read it.
const DATABASE: usize = 64 << 20;

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A header that lets somebody in.
#[derive(Clone)]
struct Pass(&'static str, String);

impl Pass {
    fn token(api: &Api) -> Pass {
        Pass("Authorization", format!("Bearer {}", api.token()))
    }

    /// Logs in with the token.
    async fn login(api: &Api) -> Pass {
        let body = json!({ "token": api.token() }).to_string();
        let reply = api.send(Method::POST, "/api/v1/login", body).await;
        let cookie = reply.headers.get("set-cookie").expect("a cookie").to_str().unwrap();
        Pass("Cookie", cookie.split(';').next().unwrap().to_owned())
    }

    fn request(&self, api: &Api, method: Method, path: &str) -> ClientRequest {
        awc::Client::builder()
            .disable_timeout()
            .finish()
            .request(method, format!("{}{path}", api.base()))
            .insert_header((self.0, self.1.clone()))
            .insert_header(("Origin", api.base().to_owned()))
    }

    /// Asks for what takes long; its status and problem code.
    fn asks(&self, api: &Api, method: Method, path: &str, body: &'static str) -> Asking {
        let request = self.request(api, method, path);
        actix_web::rt::spawn(async move {
            let mut reply = request.send_body(body).await.expect("an answer");
            let status = reply.status().as_u16();
            let headers = reply.headers().clone();
            assert!(headers.contains_key("x-request-id") && headers.contains_key("cache-control"));
            let body: Value = reply.json().await.expect("a problem");
            (status, body["code"].as_str().unwrap_or_default().to_owned())
        })
    }

    async fn opens(&self, api: &Api, path: &str) -> Body {
        let reply: ClientResponse<_> =
            soon(path, self.request(api, Method::GET, path).send()).await.expect("an answer");
        assert_eq!(reply.status().as_u16(), 200);
        Box::pin(reply)
    }

    async fn attaches(&self, api: &Api, path: &str, protocol: &'static str) -> Socket {
        let request = awc::Client::builder()
            .max_http_version(awc::http::Version::HTTP_11)
            .finish()
            .ws(format!("{}{path}", api.base()))
            .protocols([protocol])
            .set_header(self.0, self.1.clone())
            .set_header("Origin", api.base().to_owned());
        soon("WebSocket", request.connect()).await.expect("attached").1
    }
}

type Asking = JoinHandle<(u16, String)>;

/// Everything that lasts, opened with one pass.
struct Opened {
    sockets: Vec<Socket>,
    waits: Vec<Asking>,
    events: Body,
    download: Body,
    /// Bytes of the download so far.
    read: usize,
}

impl Opened {
    async fn with(pass: &Pass, api: &Api, id: &str) -> Opened {
        let session = format!("/api/v1/sessions/{id}");
        let mut sockets = Vec::new();
        for (query, protocol) in [
            ("", "stayd.v1"),
            ("mode=ro", "stayd.v1"),
            ("lag=skip", "stayd.v1"),
            ("", "raw.v1"),
            ("", "json.v1"),
        ] {
            let path = format!("{session}/attach?{query}");
            let mut socket = pass.attaches(api, &path, protocol).await;
            soon("a frame", socket.next()).await.expect("a frame").expect("a frame");
            sockets.push(socket);
        }
        let screen = format!("{session}/screen?wait=text:never&timeout_ms=100000");
        let deaf = format!("{session}/input");
        let waits = vec![
            pass.asks(api, Method::GET, &screen, ""),
            // More than the program's queue takes, as it does not read.
            pass.asks(api, Method::POST, &deaf, LONG),
        ];
        let mut events = pass.opens(api, "/api/v1/events").await;
        soon("an event", events.next()).await.expect("a piece").expect("a piece");
        let mut download = pass.opens(api, "/api/v1/backup").await;
        let first = soon("a piece", download.next()).await.expect("a piece").expect("a piece");
        Opened { sockets, waits, events, download, read: first.len() }
    }

    /// All of it ends soon after now, for this reason.
    async fn ends(mut self, why: &str) {
        let start = Instant::now();
        for socket in &mut self.sockets {
            loop {
                match soon("the end of a WebSocket", socket.next()).await {
                    Some(Ok(Frame::Close(Some(reason)))) => {
                        let text = reason.description.unwrap_or_default();
                        let expected = (1008, format!("{why}; do not retry"));
                        assert_eq!((u16::from(reason.code), text), expected);
                        break;
                    }
                    Some(Ok(_)) => {}
                    other => panic!("{other:?} and no reason"),
                }
            }
        }
        for wait in self.waits {
            let answer = soon("the end of a wait", wait).await.expect("an answer");
            assert_eq!(answer, (401, "unauthorized".to_owned()));
        }
        while let Some(Ok(_)) = soon("the end of the events", self.events.next()).await {}
        let taken = start.elapsed();
        assert!(taken < ENDED_WITHIN, "{taken:?}");
        // What was on its way comes, and no more.
        while let Some(Ok(piece)) = soon("the end of the download", self.download.next()).await {
            self.read += piece.len();
        }
        assert!(self.read < DATABASE, "{} bytes", self.read);
        eprintln!("{why}: all closed after {taken:?}, {} KiB of the download", self.read >> 10);
    }
}

/// More than a session's queue of input.
const LONG: &str = match std::str::from_utf8(&[b'x'; 200 << 10]) {
    Ok(text) => text,
    Err(_) => "",
};

/// A session that prints nothing more and reads nothing.
async fn session(server: &Server) -> String {
    let db = server.db();
    db.execute_batch(&format!("CREATE TABLE large AS SELECT zeroblob({DATABASE}) AS bytes"))
        .expect("a large database");
    server.api().run("stty raw -echo; echo ready; sleep 1000").await
}

/// Somebody else, whom all this does not concern.
struct Bystander(Socket);

impl Bystander {
    async fn attach(server: &Server, id: &str) -> Bystander {
        let (api, path) = (server.api(), format!("/api/v1/sessions/{id}/attach?mode=ro"));
        Bystander(Pass::token(&api).attaches(&api, &path, "stayd.v1").await)
    }

    async fn stays(mut self) {
        let ping = awc::ws::Message::Ping("there?".into());
        soon("sent", self.0.send(ping)).await.expect("sent");
        loop {
            match soon("a pong", self.0.next()).await.expect("it stands").expect("a frame") {
                Frame::Pong(_) => return,
                Frame::Close(reason) => panic!("closed: {reason:?}"),
                _ => {}
            }
        }
    }
}

/// Waits until a WebSocket is closed because its session has left the scope.
async fn left_the_scope(socket: &mut Socket) {
    loop {
        match soon("the end of a WebSocket", socket.next()).await {
            Some(Ok(Frame::Close(Some(reason)))) => {
                let text = reason.description.unwrap_or_default();
                return assert!(text.contains("left the scope"), "{text}");
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?} and no reason"),
        }
    }
}

#[actix_web::test]
async fn a_removed_token_ends_all_that_was_opened_with_it_and_with_its_logins() {
    let server = Server::start().await;
    let id = session(&server).await;
    for logged_in in [false, true] {
        let added = verb(&server, &["token", "add", "anna", "--role", "admin"]);
        let token = String::from_utf8(added.stdout).unwrap();
        let api = Api::new(server.address(), token.trim());
        let pass = if logged_in { Pass::login(&api).await } else { Pass::token(&api) };
        let bystander = Bystander::attach(&server, &id).await;
        let opened = Opened::with(&pass, &api, &id).await;
        assert!(verb(&server, &["token", "rm", "anna"]).status.success());
        opened.ends("the token is no longer valid").await;
        bystander.stays().await;
    }
}

#[actix_web::test]
async fn a_logout_ends_all_that_was_opened_with_the_login_also_if_it_cannot_be_written_down() {
    let server = Server::start().await;
    let id = session(&server).await;
    let api = server.api();
    let mut locked = Vec::new();
    for writable in [true, false] {
        let (pass, other) = (Pass::login(&api).await, Pass::login(&api).await);
        if !writable {
            // Somebody writes for ever, as far as the server can see.
            locked.push(server.db());
            let db = locked.last().expect("a connection");
            db.execute_batch("BEGIN IMMEDIATE").expect("locked");
        }
        let bystander = Bystander::attach(&server, &id).await;
        let opened = Opened::with(&pass, &api, &id).await;
        let out = pass.request(&api, Method::POST, "/api/v1/logout").send();
        soon("logged out", out).await.expect("an answer");
        opened.ends("the login has ended").await;
        bystander.stays().await;
        // Another browser of the same person is still logged in.
        drop(other.opens(&api, "/api/v1/sessions").await);
    }
}

#[actix_web::test]
async fn a_login_that_somebody_else_ends_ends_what_was_opened_with_it() {
    let server = Server::start().await;
    let id = session(&server).await;
    let api = server.api();
    let pass = Pass::login(&api).await;
    let bystander = Bystander::attach(&server, &id).await;
    let opened = Opened::with(&pass, &api, &id).await;
    let listed = verb(&server, &["logins", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let login = listed["logins"][0]["id"].as_str().expect("an id");
    assert!(verb(&server, &["logins", "rm", login]).status.success());
    opened.ends("the login has ended").await;
    bystander.stays().await;
}

#[actix_web::test]
async fn a_login_whose_time_is_over_ends_what_was_opened_with_it() {
    let clock = Clock::new();
    let server = Server::start_in(Server::dir(), clock.env()).await;
    let id = session(&server).await;
    let api = server.api();
    let pass = Pass::login(&api).await;
    let bystander = Bystander::attach(&server, &id).await;
    let opened = Opened::with(&pass, &api, &id).await;
    clock.set(31 * 24 * 3600);
    opened.ends("the login has ended").await;
    bystander.stays().await;
}

/// The owner, a token that sees the sessions of its team, and a session of that team.
async fn in_a_team(server: &Server) -> (Api, Api, String) {
    let owner = server.api();
    let made = json!({ "command": ["cat"], "labels": { "team": "a" } });
    let id = owner.create(made).await["id"].as_str().expect("an id").to_owned();
    let added = verb(server, &["token", "add", "anna", "--label", "team=a"]);
    let token = String::from_utf8(added.stdout).expect("text");
    let anna = Api::new(server.address(), token.trim());
    (owner, anna, id)
}

/// A stream of events outlives the run of the session that it began with.
#[actix_web::test]
async fn events_of_a_session_that_was_started_again_end_when_it_leaves_the_scope() {
    let server = Server::start().await;
    let (owner, anna, id) = in_a_team(&server).await;
    let path = format!("/api/v1/sessions/{id}");
    let mut events = Pass::token(&anna).opens(&anna, &format!("/api/v1/events?session={id}")).await;
    soon("an event", events.next()).await.expect("a piece").expect("a piece");
    owner.post(&format!("{path}/restart"), "{}").await.ok(200);
    owner.send(Method::PATCH, &path, r#"{"labels":{"team":"b"}}"#).await.ok(200);
    let start = Instant::now();
    while let Some(Ok(_)) = soon("the end of the events", events.next()).await {}
    assert!(start.elapsed() < ENDED_WITHIN, "{:?}", start.elapsed());
}

/// A link opens nothing that its maker does not see.
#[actix_web::test]
async fn a_session_that_leaves_the_scope_of_a_links_maker_ends_what_was_opened_by_the_link() {
    let server = Server::start().await;
    let (owner, anna, id) = in_a_team(&server).await;
    let path = format!("/api/v1/sessions/{id}");
    let link = async |maker: &Api| {
        let made = maker.post(&format!("{path}/shares"), r#"{"mode":"rw"}"#).await.ok(201);
        Api::new(server.address(), made["token"].as_str().expect("a secret"))
    };
    let (annas, owners) = (link(&anna).await, link(&owner).await);
    let attach = format!("{path}/attach");
    let mut socket = Pass::token(&annas).attaches(&annas, &attach, "stayd.v1").await;
    let stays = Bystander(Pass::token(&owners).attaches(&owners, &attach, "stayd.v1").await);
    let screen = format!("{path}/screen?wait=text:never&timeout_ms=100000");
    let wait = Pass::token(&annas).asks(&annas, Method::GET, &screen, "");
    // The wait is attached to the screen by now: the session is asked for after it.
    annas.get(&path).await.ok(200);

    owner.send(Method::PATCH, &path, r#"{"labels":{"team":"b"}}"#).await.ok(200);
    let start = Instant::now();
    annas.get(&path).await.problem(404, "not_found");
    left_the_scope(&mut socket).await;
    let answer = soon("the end of a wait", wait).await.expect("an answer");
    assert_eq!(answer, (404, "not_found".to_owned()));
    assert!(start.elapsed() < ENDED_WITHIN, "{:?}", start.elapsed());
    stays.stays().await;
    owners.get(&path).await.ok(200);
    // While its maker sees the session again, so does the link.
    owner.send(Method::PATCH, &path, r#"{"labels":{"team":"a"}}"#).await.ok(200);
    annas.get(&path).await.ok(200);
}

/// Labels decide what a token sees, and they change.
#[actix_web::test]
async fn a_session_that_leaves_a_tokens_scope_ends_what_was_opened_on_it() {
    let flags = ["--ring-bytes=33554432", "--idle-ring-bytes=33554432"];
    let server = Server::start_with(&flags).await;
    let owner = server.api();
    let script = "stty raw -echo; head -c 25000000 /dev/zero; echo ready; sleep 1000";
    let made = json!({ "command": ["bash", "-c", script], "labels": { "team": "a" } });
    let id = owner.create(made).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/sessions/{id}");
    let ready = format!("{path}/screen?wait=text:ready&timeout_ms=20000");
    assert_eq!(owner.get(&ready).await.status.as_u16(), 200);
    let added = verb(&server, &["token", "add", "anna", "--label", "team=a"]);
    let token = String::from_utf8(added.stdout).expect("text");
    let anna = Api::new(server.address(), token.trim());
    let pass = Pass::token(&anna);
    let bystander = Bystander::attach(&server, &id).await;
    let mut sockets = Vec::new();
    for mode in ["rw", "ro"] {
        let attach = format!("{path}/attach?mode={mode}");
        sockets.push(pass.attaches(&anna, &attach, "stayd.v1").await);
    }
    let screen = format!("{path}/screen?wait=text:never&timeout_ms=100000");
    let deaf = format!("{path}/input");
    let waits =
        [pass.asks(&anna, Method::GET, &screen, ""), pass.asks(&anna, Method::POST, &deaf, LONG)];
    let mut events = pass.opens(&anna, &format!("/api/v1/events?session={id}")).await;
    soon("an event", events.next()).await.expect("a piece").expect("a piece");
    let mut everything = pass.opens(&anna, "/api/v1/events").await;
    soon("an event", everything.next()).await.expect("a piece").expect("a piece");
    let mut download = pass.opens(&anna, &format!("{path}/output")).await;
    let mut read = soon("a piece", download.next()).await.expect("a piece").expect("a piece").len();
    // A change that leaves a session in the scope ends nothing: the same check finds both.
    let made = json!({ "command": ["cat"], "labels": { "team": "a" } });
    let other = owner.create(made).await["id"].as_str().expect("an id").to_owned();
    let attach = format!("/api/v1/sessions/{other}/attach");
    let stays = Bystander(pass.attaches(&anna, &attach, "stayd.v1").await);
    let still_in = r#"{"labels":{"team":"a","more":"b"}}"#;
    owner.send(Method::PATCH, &format!("/api/v1/sessions/{other}"), still_in).await.ok(200);

    owner.send(Method::PATCH, &path, r#"{"labels":{"team":"b"}}"#).await.ok(200);
    let start = Instant::now();
    for socket in &mut sockets {
        left_the_scope(socket).await;
    }
    for wait in waits {
        let answer = soon("the end of a wait", wait).await.expect("an answer");
        assert_eq!(answer, (404, "not_found".to_owned()));
    }
    while let Some(Ok(_)) = soon("the end of the events", events.next()).await {}
    assert!(start.elapsed() < ENDED_WITHIN, "{:?}", start.elapsed());
    while let Some(Ok(piece)) = soon("the end of the download", download.next()).await {
        read += piece.len();
    }
    assert!(read < 25_000_000, "{read} bytes");
    bystander.stays().await;
    stays.stays().await;
    anna.get(&path).await.problem(404, "not_found");
    // A stream about all sessions goes on, without this one.
    let made = json!({ "command": ["cat"], "labels": { "team": "a" } });
    let other = owner.create(made).await["id"].as_str().expect("an id").to_owned();
    let mut text = String::new();
    while !text.contains(&other) {
        let piece = soon("an event", everything.next()).await.expect("a piece").expect("a piece");
        text += &String::from_utf8_lossy(&piece);
    }
}
