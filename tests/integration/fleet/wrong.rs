//! A machine that logs in to NATS as itself and does what none of ours would.

use super::machines::{LOOK, bash, member, sees, two};
use crate::metrics::scrape;
use crate::support::{NatsServer, Server, soon};
use actix_web::http::Method;
use actix_web::rt::{spawn, task::JoinHandle, time::sleep};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use stayd::id::SessionId;
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A machine in the directory, as long as it lives.
struct Wrong {
    client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl Wrong {
    async fn start(nats: &NatsServer, name: &'static str) -> Wrong {
        Wrong::saying(nats, name, json!({})).await
    }

    /// One whose record differs in this.
    async fn saying(nats: &NatsServer, name: &'static str, other: Value) -> Wrong {
        let client = ConnectOptions::new().connect(nats.url());
        let client = soon("a connection", client).await.expect("a connection");
        let mut record = json!({
            "name": name, "instance": "0190d3c0-a1b2-7000-8000-000000000001", "run": 7,
            "version": "1", "live_sessions": 0, "max_sessions": 9, "load": null, "cores": 1,
            "since": "", "rights": "admin",
        });
        change(&mut record, other);
        let told = client.clone();
        let tells = spawn(async move {
            loop {
                let line = record.to_string().into();
                let _ = told.publish(format!("$KV.stayd-nodes.{name}"), line).await;
                sleep(Duration::from_secs(1)).await;
            }
        });
        Wrong { client, tasks: vec![tells] }
    }

    /// Tells of a session.
    async fn tells(&self, name: &str, session: &Value) {
        let id = session["id"].as_str().expect("an id");
        let subject = format!("$KV.stayd-sessions.{name}.{id}");
        self.client.publish(subject, session.to_string().into()).await.expect("sent");
        self.client.flush().await.expect("sent");
    }

    /// Takes streams, and answers whatever is asked with these bytes; without any, it is silent.
    async fn answers(&mut self, name: &'static str, answer: Vec<u8>) {
        let client = self.client.clone();
        let all = client.subscribe(format!("stayd.node.{name}.>")).await;
        let mut all = all.expect("a subscription");
        client.flush().await.expect("sent");
        self.tasks.push(spawn(async move {
            while let Some(message) = all.next().await {
                let mut words = message.subject.splitn(5, '.').skip(3);
                let (edge, stream) = (words.next().unwrap(), words.next().unwrap());
                let with = |kind: u8, number: u64, rest: &[u8]| {
                    [&[kind], &number.to_be_bytes()[..], rest].concat()
                };
                let says: Vec<Vec<u8>> = match message.payload.first() {
                    Some(b'o') => vec![with(b'a', 7, b"")],
                    Some(b'd') if !answer.is_empty() => {
                        vec![with(b'd', 0, &answer), with(b'e', 1, b"")]
                    }
                    _ => vec![],
                };
                for says in says {
                    let to = format!("stayd.edge.{edge}.{name}.{stream}");
                    let _ = client.publish(to, says.into()).await;
                }
            }
        }));
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Gives an object these members.
fn change(object: &mut Value, members: Value) {
    let (Value::Object(object), Value::Object(members)) = (object, members) else { panic!() };
    object.extend(members);
}

/// An answer with this status, whose body is another answer.
fn before_another(status: &str) -> Vec<u8> {
    let inner = "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nhi";
    let length = inner.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{inner}").into_bytes()
}

/// The head of a request, as it is sent.
fn head(server: &Server, path: &str, more: &str) -> String {
    let (address, token) = (server.address(), server.api().token().to_owned());
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

fn labels(count: usize) -> Value {
    (0..count).map(|n| (format!("label-{n}"), json!("x"))).collect::<Map<_, _>>().into()
}

#[actix_web::test]
async fn what_follows_an_interim_answer_of_a_machine_reaches_nobody() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    for (name, status) in [("w1", "103 Early Hints"), ("w2", "100 Continue"), ("w3", "101 Other")] {
        let mut wrong = Wrong::start(&nats, name).await;
        wrong.answers(name, before_another(status)).await;
        sees(&desk, name, "online").await;
        let asked = desk.api().get(&format!("/api/v1/nodes/{name}/sessions/x")).await;
        assert!(!asked.headers.contains_key("set-cookie"), "{status}");
        asked.problem(502, "bad_gateway");
    }
}

#[actix_web::test]
async fn a_status_that_no_answer_has_reaches_nobody_nor_a_pause_of_weeks() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    let asked = async |name: &'static str, status: &str, pause: &str| {
        let mut wrong = Wrong::start(&nats, name).await;
        let answer =
            format!("HTTP/1.1 {status}\r\nretry-after: {pause}\r\ncontent-length: 2\r\n\r\nhi");
        wrong.answers(name, answer.into_bytes()).await;
        sees(&desk, name, "online").await;
        desk.api().get(&format!("/api/v1/nodes/{name}/sessions/x")).await
    };
    for (name, status) in [("w1", "999 Never"), ("w2", "600 More"), ("w3", "199 Less")] {
        let refused = asked(name, status, "1").await.problem(502, "bad_gateway");
        let detail = refused["detail"].as_str().expect("a detail");
        assert!(detail.contains(name) && detail.contains(&status[..3]), "{detail}");
    }
    for (name, status, pause, passed) in [
        ("p1", "200 OK", "3600", Some("3600")),
        ("p2", "599 Other", "0", Some("0")),
        ("p3", "503 Away", "3601", None),
        ("p4", "503 Away", "99999999999999999999", None),
        ("p5", "503 Away", "Fri, 31 Dec 2199 23:59:59 GMT", None),
        ("p6", "503 Away", "-1", None),
        ("p7", "503 Away", "+5", None),
    ] {
        let answer = asked(name, status, pause).await;
        assert_eq!(answer.status.as_str(), &status[..3]);
        let said = answer.headers.get("retry-after").map(|value| value.to_str().expect("text"));
        assert_eq!(said, passed, "{pause}");
    }
}

/// Clients take bytes behind the head of an answer that has no body for the answer to their next request.
#[actix_web::test]
async fn what_follows_an_answer_that_has_no_body_reaches_nobody() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    for (name, status) in
        [("w1", "204 No Content"), ("w2", "304 Not Modified"), ("w3", "205 Reset")]
    {
        let mut wrong = Wrong::start(&nats, name).await;
        wrong.answers(name, before_another(status)).await;
        sees(&desk, name, "online").await;
        let mut client = TcpStream::connect(desk.address()).await.expect("a connection");
        let first = head(&desk, &format!("/api/v1/nodes/{name}/sessions/x"), "");
        client.write_all(first.as_bytes()).await.expect("sent");
        let second = head(&desk, "/healthz", "Connection: close\r\n");
        client.write_all(second.as_bytes()).await.expect("sent");
        let mut all = String::new();
        soon("both answers", client.read_to_string(&mut all)).await.expect("text");
        assert!(all.starts_with(&format!("HTTP/1.1 {}", &status[..3])), "{all}");
        assert!(!all.contains("set-cookie: a=b"), "{all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 2, "{all}");
    }
}

/// A machine that takes streams and never answers holds nothing for those who have gone.
#[actix_web::test]
async fn who_hangs_up_on_a_machine_that_does_not_answer_holds_nothing() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    let mut wrong = Wrong::start(&nats, "wrong").await;
    wrong.answers("wrong", Vec::new()).await;
    sees(&desk, "wrong", "online").await;
    let mut client = TcpStream::connect(desk.address()).await.expect("a connection");
    let head = head(&desk, "/api/v1/nodes/wrong/sessions", "");
    client.write_all(head.as_bytes()).await.expect("sent");
    for (expected, what) in [(1.0, "the stream"), (0.0, "its end")] {
        soon(what, async {
            while scrape(&desk).await.get("stayd_relay_streams") != Some(&expected) {
                sleep(LOOK).await;
            }
        })
        .await;
        let _ = client.shutdown().await;
    }
}

#[actix_web::test]
async fn what_is_said_of_a_session_beyond_what_one_may_have_is_not_kept() {
    let Some(nats) = NatsServer::start().await else { return };
    let mut desk = member(&nats, "desk", "").await;
    let wrong = Wrong::start(&nats, "wrong").await;
    sees(&desk, "wrong", "online").await;
    let one = desk.api().create(json!({ "command": ["cat"] })).await;
    let session = |other: Value| {
        let mut session = one.clone();
        change(&mut session, json!({ "id": SessionId::generate().to_string() }));
        change(&mut session, other);
        session
    };
    let named = async |desk: &Server, name: &str| {
        soon("the session", async {
            loop {
                let list = desk.api().get("/api/v1/sessions?node=wrong").await.ok(200);
                let list = list["sessions"].as_array().expect("sessions").clone();
                if list.iter().any(|it| it["name"] == name) {
                    return list;
                }
                sleep(LOOK).await;
            }
        })
        .await
    };
    let grows = session(json!({ "name": "grows" }));
    wrong.tells("wrong", &grows).await;
    named(&desk, "grows").await;
    // Lines come in their order, so that all of these have been read once the last one is listed.
    let mut grown = grows.clone();
    change(&mut grown, json!({ "labels": labels(300) }));
    for line in [
        grown,
        session(json!({ "name": "x".repeat(65) })),
        session(json!({ "title": "x".repeat(5000) })),
        session(json!({ "name": "fits", "labels": labels(32), "later": "y".repeat(9000) })),
    ] {
        wrong.tells("wrong", &line).await;
    }
    let list = named(&desk, "fits").await;
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["labels"].as_object().expect("labels").len(), 32);
    assert!(list[0]["later"].is_null(), "what this version does not know is left out");
    let refused = r#"stayd_fleet_refused_lines_total{node="wrong"}"#;
    assert_eq!(scrape(&desk).await.get(refused), Some(&3.0));
    // One warning for each machine.
    let other = Wrong::saying(&nats, "other", json!({ "labels": labels(300) })).await;
    let warnings = Cell::new(0);
    let warned = desk
        .wait_for_log("a warning of the other", |line| {
            let is_one = line["msg"]
                .as_str()
                .is_some_and(|it| it.contains("stayd_fleet_refused_lines_total"));
            warnings.set(warnings.get() + usize::from(is_one));
            is_one && line["node"] == "other"
        })
        .await;
    assert_eq!(warnings.get(), 2, "{warned}");
    drop(other);
}

#[actix_web::test]
async fn a_list_of_the_longest_sessions_comes_in_pages_that_are_not_too_much() {
    const COUNT: usize = 200;
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    let wrong = Wrong::start(&nats, "wrong").await;
    sees(&desk, "wrong", "online").await;
    // Those of the server itself are the oldest and the newest.
    let oldest = desk.api().create(json!({ "command": ["cat"] })).await;
    for _ in 0..COUNT {
        let mut session = oldest.clone();
        let id = SessionId::generate().to_string();
        change(&mut session, json!({ "id": id, "command": ["x".repeat(60_000)] }));
        wrong.tells("wrong", &session).await;
    }
    desk.api().create(json!({ "command": ["cat"] })).await;
    let pages = soon("all of them", async {
        loop {
            let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let path = format!("/api/v1/sessions?node=all&limit=1000{cursor}");
                let page = desk.api().get(&path).await;
                assert!(page.bytes.len() < 9 << 20, "{}", page.bytes.len());
                let page = page.ok(200);
                let sessions = page["sessions"].as_array().expect("sessions").iter();
                ids.extend(sessions.map(|it| it["id"].as_str().expect("an id").to_owned()));
                pages += 1;
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert!(ids.is_sorted_by(|newer, older| newer > older), "newest first, each once");
            if ids.len() == COUNT + 2 {
                assert_eq!(ids.last().map(String::as_str), oldest["id"].as_str());
                return pages;
            }
        }
    })
    .await;
    assert!(pages > 1, "{pages}");
}

#[actix_web::test]
async fn what_a_machine_says_of_itself_is_shown_as_far_as_one_may_say_it() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    let much = json!({
        "labels": labels(300), "version": "9".repeat(9000), "since": "x".repeat(9000), "rights": "x".repeat(9000),
    });
    let wrong = Wrong::saying(&nats, "wrong", much).await;
    sees(&desk, "wrong", "online").await;
    let nodes = desk.api().get("/api/v1/nodes").await.ok(200);
    let shown = nodes["nodes"].as_array().expect("nodes").iter().find(|it| it["name"] == "wrong");
    let shown = shown.expect("the machine");
    assert!(shown.to_string().len() < 2000, "{shown}");
    assert_eq!(shown["labels"].as_object().expect("labels").len(), 32);
    drop(wrong);
}

#[actix_web::test]
async fn who_claims_the_id_of_anothers_session_is_sent_nothing_of_it() {
    let Some((nats, mut desk, attic)) = two("").await else { return };
    let mut wrong = Wrong::start(&nats, "wrong").await;
    wrong.answers("wrong", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()).await;
    sees(&desk, "wrong", "online").await;
    let own = desk.api().create(json!({ "command": ["cat"] })).await;
    let remote = desk.api().create(bash("attic")).await;
    let path = |session: &Value| format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    let two_listed = async |server: &Server, query: &str| {
        soon("both lines", async {
            loop {
                let listed = server.api().get(query).await.json();
                if listed["sessions"].as_array().is_some_and(|all| all.len() == 2) {
                    return;
                }
                sleep(LOOK).await;
            }
        })
        .await;
    };
    two_listed(&desk, "/api/v1/sessions?node=all").await;
    two_listed(&attic, "/api/v1/sessions?node=all").await;
    // Its lines are older than the true ones, which are put again, so that they are read first.
    for (session, server) in [(&own, &desk), (&remote, &attic)] {
        wrong.tells("wrong", session).await;
        let labels = r#"{"labels":{"a":"b"}}"#;
        server.api().send(Method::PATCH, &path(session), labels).await.ok(200);
    }
    two_listed(&attic, "/api/v1/sessions?node=all&label=a=b").await;
    desk.kill_and_restart().await;
    sees(&desk, "wrong", "online").await;
    sees(&desk, "attic", "online").await;
    let shown = desk.api().get(&path(&own)).await.ok(200);
    assert_eq!(shown["id"], own["id"], "its own");
    soon("the dispute", async {
        loop {
            let answer = desk.api().get(&path(&remote)).await;
            if answer.status == 503 && answer.json()["detail"].to_string().contains("more than one")
            {
                return;
            }
            assert!(!answer.status.is_success() || answer.json()["id"] == remote["id"]);
            sleep(LOOK).await;
        }
    })
    .await;
    let by_name = format!("/api/v1/nodes/attic/sessions/{}", remote["id"].as_str().unwrap());
    assert_eq!(desk.api().get(&by_name).await.ok(200)["id"], remote["id"]);
}

#[actix_web::test]
async fn who_fills_the_directory_leaves_the_machines_in_it() {
    let Some((nats, desk, mut attic)) = two("").await else { return };
    let wrong = Wrong::start(&nats, "wrong").await;
    sees(&desk, "wrong", "online").await;
    let context = async_nats::jetstream::new(wrong.client.clone());
    let much = bytes::Bytes::from(vec![b'x'; 50 << 10]);
    soon("a full bucket", async {
        for number in 0.. {
            let subject = format!("$KV.stayd-sessions.wrong.k{number}");
            let sent = context.publish(subject, much.clone()).await.expect("sent");
            if sent.into_future().await.is_err() {
                return;
            }
        }
    })
    .await;
    attic.kill();
    sees(&desk, "attic", "offline").await;
    attic.restart().await;
    sees(&desk, "attic", "online").await;
    let started = desk.api().create(bash("attic")).await;
    let by_name = format!("/api/v1/nodes/attic/sessions/{}", started["id"].as_str().unwrap());
    assert_eq!(desk.api().get(&by_name).await.ok(200)["id"], started["id"]);
}
