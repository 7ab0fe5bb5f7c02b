//! A machine that logs in to NATS as itself and does what none of ours would.

use super::machines::{LOOK, bash, member, sees, two};
use crate::support::{NatsServer, Server, soon};
use actix_web::http::Method;
use actix_web::rt::{spawn, task::JoinHandle, time::sleep};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// A machine in the directory, as long as it lives.
struct Wrong {
    client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl Wrong {
    async fn start(nats: &NatsServer, name: &'static str) -> Wrong {
        let client = ConnectOptions::new().connect(nats.url());
        let client = soon("a connection", client).await.expect("a connection");
        let record = json!({
            "name": name, "instance": "0190d3c0-a1b2-7000-8000-000000000001", "run": 7,
            "version": "1", "live_sessions": 0, "max_sessions": 9, "load": null, "cores": 1,
            "since": "", "rights": "admin",
        });
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

    /// Takes streams, and answers whatever is asked with these bytes.
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
                    Some(b'd') => vec![with(b'd', 0, &answer), with(b'e', 1, b"")],
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

#[actix_web::test]
async fn what_follows_an_interim_answer_of_a_machine_reaches_nobody() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk", "").await;
    let inner = "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nhi";
    for (name, status) in [("w1", "103 Early Hints"), ("w2", "100 Continue"), ("w3", "101 Other")] {
        let mut wrong = Wrong::start(&nats, name).await;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{inner}", inner.len());
        wrong.answers(name, answer.into_bytes()).await;
        sees(&desk, name, "online").await;
        let asked = desk.api().get(&format!("/api/v1/nodes/{name}/sessions/x")).await;
        assert!(!asked.headers.contains_key("set-cookie"), "{status}");
        asked.problem(503, "node_unreachable");
    }
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
    let much = bytes::Bytes::from(vec![b'x'; 100 << 10]);
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
