//! What is asked for twice with one `Idempotency-Key` is made once.

use crate::cli::verb;
use crate::support::{Api, Reply, Server, marked, soon};
use awc::http::{Method, StatusCode};
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const SESSIONS: &str = "/api/v1/sessions";

async fn create(api: &Api, key: &str, body: &Value) -> Reply {
    let headers = [("Idempotency-Key", key)];
    api.send_with(Method::POST, SESSIONS, &headers, body.to_string()).await
}

fn is_replay(reply: &Reply) -> bool {
    reply.headers.get("idempotent-replay").is_some_and(|value| value == "true")
}

#[track_caller]
fn id(reply: &Reply) -> String {
    reply.ok(201)["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn the_same_request_again_gets_the_session_that_it_has_made() {
    let mut server = Server::start().await;
    let api = server.api();
    let body = json!({ "name": "once", "command": ["sleep", "1000"], "env": { "A": "1" } });
    let first = create(&api, "key-1", &body).await;
    assert!(!is_replay(&first));
    let made = id(&first);
    api.send(Method::PATCH, "/api/v1/sessions/once", r#"{"name":"renamed"}"#).await.ok(200);
    let spaced = r#"{ "env": {"A":"1"}, "command": ["sleep","1000"], "name": "once" }"#;
    let headers = [("Idempotency-Key", "key-1")];
    let again = api.send_with(Method::POST, SESSIONS, &headers, spaced).await;
    assert!(is_replay(&again));
    assert_eq!(again.headers.get("location").unwrap(), &format!("{SESSIONS}/{made}")[..]);
    assert_eq!((id(&again), &again.json()["name"]), (made.clone(), &json!("renamed")), "as it is");

    // Something else under this key, or somebody else.
    let reused = "idempotency_key_reused";
    create(&api, "key-1", &json!({ "name": "other" })).await.problem(422, reused);
    let anna = String::from_utf8(verb(&server, &["token", "add", "anna"]).stdout).unwrap();
    let anna = Api::new(server.address(), anna.trim());
    create(&anna, "key-1", &body).await.problem(422, reused);
    for bad in ["", "two words", &"x".repeat(256)] {
        create(&api, bad, &body).await.problem(400, "invalid_request");
    }
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let twice = api.send_with(Method::POST, SESSIONS, &two, body.to_string()).await;
    twice.problem(400, "invalid_request");
    assert_eq!(server.sql("SELECT count(*) FROM sessions").as_deref(), Some("1"));

    server.kill_and_restart().await;
    let after = create(&api, "key-1", &body).await;
    assert!(is_replay(&after));
    assert_eq!(id(&after), made);
    assert_eq!(after.json()["status"], "RUNNING");
    create(&api, "key-1", &json!({ "name": "other" })).await.problem(422, reused);

    // It lasts as long as the row does.
    api.delete(&format!("{SESSIONS}/{made}")).await.ok(200);
    let ended = create(&api, "key-1", &body).await;
    assert_eq!((id(&ended), &ended.json()["status"]), (made.clone(), &json!("TERMINATED")));
    api.delete(&format!("{SESSIONS}/{made}?purge=true")).await.ok(200);
    let new = create(&api, "key-1", &body).await;
    assert!(!is_replay(&new));
    assert_ne!(id(&new), made);
}

#[actix_web::test]
async fn of_many_at_once_one_is_made() {
    let server = Server::start().await;
    let api = server.api();
    let body = json!({ "name": "one", "command": ["sleep", "1000"] });
    let replies = join_all((0..24).map(|_| create(&api, "same", &body))).await;
    let ids: std::collections::HashSet<String> = replies.iter().map(id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
    assert_eq!(server.sql("SELECT count(*) FROM sessions").as_deref(), Some("1"));
    let made = ids.into_iter().next().unwrap();
    assert_eq!(marked(&made), 1, "one process");
    // Among those that ask for something else, one body wins.
    let bodies: Vec<Value> =
        (0..8).map(|n| json!({ "command": ["sleep", format!("100{n}")] })).collect();
    let replies = join_all(bodies.iter().map(|body| create(&api, "other", body))).await;
    let (won, lost): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.status == StatusCode::CREATED);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for lost in lost {
        lost.problem(422, "idempotency_key_reused");
    }
}

#[actix_web::test]
async fn what_cannot_start_is_answered_the_same_again() {
    let mut server = Server::start().await;
    let api = server.api();
    let body = json!({ "command": ["/no/such/program"] });
    let first = create(&api, "fails", &body).await.problem(422, "spawn_failed");
    assert_eq!((&first["step"], &first["errno"]), (&json!("exec"), &json!(2)));
    let same = |reply: &Reply| {
        let again = reply.problem(422, "spawn_failed");
        assert!(is_replay(reply));
        for member in ["step", "errno", "detail", "title"] {
            assert_eq!(again[member], first[member], "{member}");
        }
        assert_eq!(again["session"]["id"], first["session"]["id"]);
        assert_eq!(again["session"]["status"], "ERROR");
    };
    same(&create(&api, "fails", &body).await);
    server.kill_and_restart().await;
    same(&create(&api, "fails", &body).await);
    assert_eq!(server.sql("SELECT count(*) FROM sessions").as_deref(), Some("1"));
}

/// Sends a request that will get no answer, since the server dies.
fn ask(api: &Api, key: &str, body: &Value) -> impl Future<Output = bool> + use<> {
    let (api, key, body) = (api.clone(), key.to_owned(), body.to_string());
    let asked = actix_web::rt::spawn(async move {
        let headers = [("Idempotency-Key", &*key)];
        api.try_send_with(Method::POST, SESSIONS, &headers, body).await.is_ok()
    });
    async move { soon("the end of a request", asked).await.unwrap() }
}

#[actix_web::test]
async fn a_server_that_dies_in_between_makes_no_doubles() {
    let mut server = Server::start().await;
    let api = server.api();
    for round in 0..10 {
        let key = format!("round-{round}");
        let body = json!({ "command": ["sleep", "1000"], "labels": { "round": key } });
        let asked = ask(&api, &key, &body);
        // Killed at another moment each time: before the row, with it, after the spawn.
        let row = format!("SELECT count(*) FROM sessions WHERE idempotency_key = '{key}'");
        for _ in 0..round * 4 {
            actix_web::rt::task::yield_now().await;
        }
        if round % 2 == 1 {
            server.wait_for_sql(&row, "1").await;
        }
        server.kill();
        asked.await;
        server.restart().await;
        let made = id(&create(&api, &key, &body).await);
        assert_eq!(id(&create(&api, &key, &body).await), made);
        let live = api.get(&format!("{SESSIONS}?label=round={key}")).await.ok(200);
        assert_eq!(live["sessions"].as_array().unwrap().len(), 1, "{live}");
        assert_eq!((server.sql(&row).as_deref(), marked(&made)), (Some("1"), 1));
    }
}

#[actix_web::test]
async fn what_was_never_started_is_started_when_it_is_asked_for_again() {
    let mut server = Server::start().await;
    let api = server.api();
    api.get("/readyz").await.ok(200);
    // The row is written, and nobody is there to start the process.
    let holder = Pid::from_raw(server.holder_pid());
    kill(holder, Signal::SIGSTOP).unwrap();
    let body = json!({ "name": "late", "command": ["sleep", "1000"] });
    let asked = ask(&api, "late", &body);
    server.wait_for_sql("SELECT count(*) FROM sessions", "1").await;
    server.kill();
    server.kill_holder();
    assert!(!asked.await, "no answer");
    server.restart().await;
    let made = create(&api, "late", &body).await;
    assert_eq!(marked(&id(&made)), 1);
    assert!(!is_replay(&made));
    assert_eq!(server.sql("SELECT count(*) FROM sessions").as_deref(), Some("2"));
    assert_eq!(id(&create(&api, "late", &body).await), id(&made));
}
