//! What happens to the sessions, as `/api/v1/events` tells it.

use crate::support::{Api, Server, Terminal, soon};
use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures_util::{Stream, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;

/// One event of the stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// A client of the stream, which remembers the last id as browsers do.
pub(crate) struct Events {
    body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
    text: String,
    last: String,
    ready: VecDeque<Told>,
}

impl Events {
    /// Listens; done once the server has said from where.
    pub(crate) async fn listen(api: &Api, query: &str, last: Option<&str>) -> Self {
        let mut request = awc::Client::builder()
            .disable_timeout()
            .finish()
            .get(format!("{}/api/v1/events?{query}", api.base()))
            .insert_header(("Authorization", format!("Bearer {}", api.token())));
        if let Some(last) = last {
            request = request.insert_header(("Last-Event-ID", last));
        }
        let reply = soon("events", request.send()).await.expect("a reply");
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers().get("content-type").unwrap(), "text/event-stream");
        let body = Box::pin(reply);
        let (text, last, ready) = (String::new(), String::new(), VecDeque::new());
        let mut events = Events { body, text, last, ready };
        while events.last.is_empty() {
            assert!(events.read().await, "the stream ended");
        }
        events
    }

    /// Reads a piece; false at the end.
    async fn read(&mut self) -> bool {
        let Some(piece) = soon("a piece of the stream", self.body.next()).await else {
            return false;
        };
        self.text += std::str::from_utf8(&piece.expect("a piece")).expect("UTF-8");
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.note(&block);
            self.text = rest;
        }
        true
    }

    /// As browsers read a block: without data it is no event, but its id counts.
    fn note(&mut self, block: &str) {
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let Some(id) = field("id") {
            self.last = id.to_owned();
        }
        if let Some(data) = field("data") {
            self.ready.push_back(Told {
                id: self.last.clone(),
                kind: field("event").expect("a kind").to_owned(),
                data: serde_json::from_str(data).expect("JSON"),
            });
        }
    }

    pub(crate) async fn next(&mut self) -> Told {
        // Heartbeats do not count: a server that tells nothing must fail the test.
        soon("an event", self.next_but_heartbeats()).await
    }

    async fn next_but_heartbeats(&mut self) -> Told {
        loop {
            match self.ready.pop_front() {
                Some(told) => return told,
                None => assert!(self.read().await, "the stream ended"),
            }
        }
    }

    /// Reads until an event of this kind comes; its data.
    async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let told = self.next().await;
            if told.kind == kind {
                return told.data;
            }
        }
    }

    /// What was told until (and without) the title that ends it.
    async fn until_title(&mut self, title: &str) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            let told = self.next().await;
            if told.kind == "session.title" && told.data["title"] == title {
                return all;
            }
            all.push(told);
        }
    }
}

/// Prints what is typed as a `printf` format, a line at a time.
const PRINTER: &str = "stty -echo; while read -r line; do printf \"$line\"; done";

async fn printer(api: &Api) -> String {
    api.run(PRINTER).await
}

async fn print(api: &Api, id: &str, line: &str) {
    let reply = api.post(&format!("/api/v1/sessions/{id}/input"), format!("{line}\n")).await;
    reply.ok(200);
}

#[actix_web::test]
async fn what_a_program_says_to_its_terminal_is_told_and_kept() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let mut events = Events::listen(&api, &format!("session={id}"), None).await;

    print(&api, &id, r"\033]2;work\007").await;
    assert_eq!(events.wait_for("session.title").await["title"], "work");
    assert_eq!(api.session(&id).await["title"], "work");

    print(&api, &id, r"\007").await;
    let bell = events.wait_for("session.bell").await;
    assert_eq!((&bell["session"], &bell["name"]), (&json!(id), &Value::Null));
    assert!(bell["at"].is_string() && api.session(&id).await["bell_at"].is_string());

    for (line, title, body) in [
        (r"\033]9;done\007", Value::Null, "done"),
        (r"\033]777;notify;Title;Body\007", json!("Title"), "Body"),
        (r"\033]99;;kitty\033\\", Value::Null, "kitty"),
    ] {
        print(&api, &id, line).await;
        let told = events.wait_for("session.notification").await;
        assert_eq!((&told["title"], &told["body"]), (&title, &json!(body)));
        let kept = &api.session(&id).await["notification"];
        assert_eq!((&kept["title"], &kept["body"]), (&title, &json!(body)));
    }

    print(&api, &id, r"\033]133;A\007").await;
    assert_eq!(events.wait_for("session.command").await["state"], "prompt");
    print(&api, &id, r"\033]133;C\007").await;
    assert_eq!(events.wait_for("session.command").await["state"], "running");
    let shell = &api.session(&id).await["shell"];
    assert_eq!((&shell["state"], &shell["ended_at"]), (&json!("running"), &Value::Null));
    print(&api, &id, r"\033]133;D;3\007").await;
    let told = events.wait_for("session.command").await;
    assert_eq!((&told["state"], &told["last_exit"]), (&json!("prompt"), &json!(3)));
    let shell = &api.session(&id).await["shell"];
    assert!(shell["started_at"].is_string() && shell["ended_at"].is_string(), "{shell}");

    print(&api, &id, r"\033]7;file://host/tmp/a%%20b\007").await;
    assert_eq!(events.wait_for("session.cwd").await["cwd_now"], "/tmp/a b");
    assert_eq!(api.session(&id).await["cwd_now"], "/tmp/a b");
}

#[actix_web::test]
async fn a_life_is_told_from_its_beginning_to_its_end() {
    let server = Server::start().await;
    let api = server.api();
    let kinds = "type=created,status,session.ended,renamed,changed";
    let mut events = Events::listen(&api, kinds, None).await;
    let session = api.create(json!({ "name": "a", "command": ["cat"] })).await;
    let id = session["id"].as_str().unwrap();

    let created = events.next().await;
    assert_eq!(created.kind, "session.created");
    assert_eq!((&created.data["session"], &created.data["name"]), (&json!(id), &json!("a")));

    let (terminal, _) = Terminal::attach(&server, id, "").await;
    let told = events.next().await;
    assert_eq!(told.kind, "session.status");
    assert_eq!((&told.data["from"], &told.data["status"]), (&json!("RUNNING"), &json!("ACTIVE")));
    terminal.leave().await;
    assert_eq!(events.next().await.data["status"], "IDLE");

    let path = format!("/api/v1/sessions/{id}");
    let patch = json!({ "name": "b" }).to_string();
    api.send(awc::http::Method::PATCH, &path, patch).await.ok(200);
    let renamed = events.next().await;
    assert_eq!(renamed.kind, "session.renamed");
    assert_eq!((&renamed.data["old_name"], &renamed.data["name"]), (&json!("a"), &json!("b")));
    let labels = json!({ "labels": { "x": "y" }, "restart": "always" }).to_string();
    for _ in 0..2 {
        // The second time nothing changes, and nothing is told.
        api.send(awc::http::Method::PATCH, &path, labels.clone()).await.ok(200);
    }
    let changed = events.next().await;
    assert_eq!(changed.kind, "session.changed");
    assert_eq!(changed.data["labels"], json!({ "x": "y" }));
    assert_eq!(changed.data["restart"], "always");

    api.delete(&path).await.ok(200);
    let ended = events.next().await;
    assert_eq!(
        (ended.kind.as_str(), &ended.data["end_reason"]),
        ("session.ended", &json!("killed"))
    );
    assert_eq!(ended.data["status"], "TERMINATED");
}

#[actix_web::test]
async fn a_client_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let mut events = Events::listen(&api, "type=notification", None).await;
    let body = |told: &Told| told.data["body"].as_str().unwrap().to_owned();
    print(&api, &id, r"\033]9;n1\007\033]9;n2\007").await;
    assert_eq!(body(&events.next().await), "n1");
    let first = events.next().await;
    assert_eq!(body(&first), "n2");
    drop(events);

    let mut titles = Events::listen(&api, "type=title", None).await;
    print(&api, &id, r"\033]9;n3\007\033]9;n4\007\033]2;there\007").await;
    titles.wait_for("session.title").await;
    for (query, header) in [
        ("type=notification".to_owned(), Some(first.id.as_str())),
        (format!("type=notification&last_event_id={}", first.id), None),
    ] {
        let mut back = Events::listen(&api, &query, header).await;
        let (third, fourth) = (back.next().await, back.next().await);
        assert_eq!([body(&third), body(&fourth)], ["n3", "n4"]);
        assert_ne!(third.id, fourth.id);
    }
}

#[actix_web::test]
async fn whoever_was_away_too_long_is_told_so() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let start = Events::listen(&api, "", None).await.last;
    for nonsense in ["1-1", "nonsense", "99999999999999-0"] {
        let mut events = Events::listen(&api, "", Some(nonsense)).await;
        assert_eq!(events.next().await.kind, "reset", "{nonsense}");
        print(&api, &id, &format!(r"\033]9;{nonsense}\007")).await;
        assert_eq!(events.wait_for("session.notification").await["body"], nonsense);
    }
    server.kill_and_restart().await;
    let mut events = Events::listen(&server.api(), "", Some(&start)).await;
    assert_eq!(events.next().await.kind, "reset", "another server knows nothing of it");
}

#[actix_web::test]
async fn what_one_server_told_the_next_does_not_tell_again() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let mut events = Events::listen(&api, "", None).await;
    let old = r"\033]9;old\007\007\033]133;C\007\033]7;file:///old\007\033]2;old\007";
    print(&api, &id, old).await;
    events.until_title("old").await;

    server.kill_and_restart().await;
    let api = server.api();
    let mut events = Events::listen(&api, &format!("session={id}"), None).await;
    print(&api, &id, r"\033]9;new\007\033]2;new\007").await;
    let told = events.until_title("new").await;
    let kinds: Vec<_> = told.iter().map(|told| told.kind.as_str()).collect();
    assert_eq!(kinds, ["session.notification"], "{told:?}");
    assert_eq!(told[0].data["body"], "new");
}

#[actix_web::test]
async fn a_flood_of_bells_and_titles_is_a_few_events() {
    let server = Server::start().await;
    let api = server.api();
    let mut events = Events::listen(&api, "", None).await;
    let flood = "for n in {1..20000}; do printf '\\a\\033]2;t%s\\a' $n; done; cat";
    api.run(flood).await;
    let told = events.until_title("t20000").await;
    let count = |kind: &str| told.iter().filter(|told| told.kind == kind).count();
    // A second apart each, however long the flood takes here.
    assert!((1..=21).contains(&count("session.bell")), "{}", count("session.bell"));
    assert!(count("session.title") <= 21, "{}", count("session.title"));
}

#[actix_web::test]
async fn quiet_is_told_once_after_output_and_again_after_more() {
    let server = Server::start_with(&["--quiet-s", "1"]).await;
    let api = server.api();
    let silent = api.run("cat >/dev/null").await;
    let id = printer(&api).await;
    let mut events = Events::listen(&api, "type=quiet,notification", None).await;

    print(&api, &id, r"hello\033]9;1\007").await;
    assert_eq!(events.next().await.kind, "session.notification");
    assert_eq!(api.session(&id).await["quiet_since"], Value::Null);
    let quiet = events.next().await;
    assert_eq!((quiet.kind.as_str(), &quiet.data["session"]), ("session.quiet", &json!(id)));
    assert_eq!(api.session(&id).await["quiet_since"], quiet.data["quiet_since"]);

    // Once: the next of this session comes after more output only, and the session that
    // never said anything never becomes quiet.
    let other = printer(&api).await;
    print(&api, &other, "x").await;
    assert_eq!(events.next().await.data["session"], json!(other));
    print(&api, &id, r"more\033]9;2\007").await;
    assert_eq!(events.next().await.kind, "session.notification");
    assert_eq!(events.next().await.data["session"], json!(id));
    assert_eq!(api.session(&silent).await["quiet_since"], Value::Null);
}

#[actix_web::test]
async fn nobody_listens_without_the_token_or_to_what_there_is_not() {
    let server = Server::start().await;
    let api = server.api();
    let stranger = Api::new(server.address(), "not-the-token-at-all");
    stranger.get("/api/v1/events").await.problem(401, "unauthorized");
    api.get("/api/v1/events?type=bell,gong").await.problem(400, "invalid_request");
    api.get("/api/v1/events?session=nobody").await.problem(404, "not_found");
    api.post("/api/v1/events", "").await.problem(405, "method_not_allowed");
}

#[actix_web::test]
async fn a_stop_does_not_wait_for_those_who_listen() {
    let mut server = Server::start().await;
    let mut events = Events::listen(&server.api(), "", None).await;
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("SIGTERM");
    // Ends as a body should: cut off, it would be an error.
    while events.read().await {}
    assert!(server.stop_waiting().success());
}
