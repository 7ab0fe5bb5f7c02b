//! Administration over HTTP.

use crate::support::{Server, Terminal, marked, soon};
use actix_web::rt::time::sleep;
use awc::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn a_session_is_created_listed_looked_at_and_killed() {
    let server = Server::start().await;
    let api = server.api();
    let reply = api.post("/api/v1/sessions", r#"{"name":"build","profile":"bash"}"#).await;
    let session = reply.ok(201);
    let id = session["id"].as_str().unwrap();
    assert_eq!(reply.headers.get("location").unwrap(), &format!("/api/v1/sessions/{id}")[..]);
    assert_eq!(session["status"], "RUNNING");
    assert_eq!(session["command"], json!(["bash", "--norc", "--noprofile"]));
    assert_eq!((&session["cols"], &session["rows"]), (&json!(80), &json!(24)));
    assert_eq!(session["idle_timeout_s"], 1800);
    assert!(session["pid"].as_i64().unwrap() > 1);

    let listed = api.get("/api/v1/sessions").await.ok(200);
    assert_eq!(listed["sessions"][0]["id"], id);
    assert_eq!(api.session("build").await["id"], id, "names are looked up too");

    let ended = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!((&ended["status"], &ended["end_reason"]), (&json!("TERMINATED"), &json!("killed")));
    assert_eq!(ended["exit_signal"], 1, "bash ends at SIGHUP");
    assert_eq!(server.sql("SELECT status FROM sessions").as_deref(), Some("TERMINATED"));
    let transitions = api.transitions(id).await;
    let expected = [
        (Value::Null, "RUNNING".to_owned(), "created".to_owned()),
        (json!("RUNNING"), "TERMINATED".to_owned(), "killed".to_owned()),
    ];
    assert_eq!(transitions, expected);

    let again = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!(again["status"], "TERMINATED", "killing twice is no error");
    assert_eq!(api.get("/api/v1/sessions").await.ok(200)["sessions"], json!([]));
    let all = api.get("/api/v1/sessions?all=true").await.ok(200);
    assert_eq!(all["sessions"][0]["id"], id);
    api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    api.get(&format!("/api/v1/sessions/{id}")).await.problem(404, "not_found");
}

#[actix_web::test]
async fn killing_ends_the_whole_tree_and_nothing_else() {
    let server = Server::start().await;
    let api = server.api();
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let script = "setsid sleep 1001 & nohup sleep 1002 >/dev/null 2>&1 & \
                  (trap '' HUP TERM; sleep 1003) & (setsid sleep 1004 &) ; sleep 1005 & \
                  pgrep -s 0,$$ >/dev/null; echo up; wait";
    let id = api.run(script).await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    soon("the tree is up", async {
        while marked(&id) < 6 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let ended = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!(ended["status"], "TERMINATED");
    assert_eq!(marked(&id), 0);
    assert_eq!(terminal.control("exit").await["reason"], "killed");
    assert_eq!(terminal.closed().await.0, 1000);
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[actix_web::test]
async fn live_names_are_unique_and_free_again_after_the_end() {
    let server = Server::start().await;
    let api = server.api();
    let first = api.create(json!({ "name": "one", "profile": "bash" })).await;
    let taken = api.post("/api/v1/sessions", r#"{"name":"one","profile":"bash"}"#).await;
    taken.problem(409, "name_taken");
    api.delete("/api/v1/sessions/one").await.ok(200);
    let second = api.create(json!({ "name": "one", "profile": "bash" })).await;
    assert_ne!(first["id"], second["id"]);
}

#[actix_web::test]
async fn lists_are_filtered_and_paged() {
    let server = Server::start().await;
    let api = server.api();
    for number in 0..5 {
        let labels = json!({ "parity": if number % 2 == 0 { "even" } else { "odd" } });
        let name = format!("s{number}");
        api.create(json!({ "name": name, "profile": "bash", "labels": labels })).await;
    }
    api.delete("/api/v1/sessions/s4").await.ok(200);
    let names = |reply: &Value| -> Vec<String> {
        let sessions = reply["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = api.get("/api/v1/sessions?limit=3").await.ok(200);
    assert_eq!(names(&page), ["s3", "s2", "s1"]);
    let cursor = page["next"].as_str().unwrap();
    let rest = api.get(&format!("/api/v1/sessions?limit=3&cursor={cursor}")).await.ok(200);
    assert_eq!((names(&rest), &rest["next"]), (vec!["s0".to_owned()], &Value::Null));
    let even = api.get("/api/v1/sessions?label=parity=even").await.ok(200);
    assert_eq!(names(&even), ["s2", "s0"]);
    let all = api.get("/api/v1/sessions?all=true&label=parity=even").await.ok(200);
    assert_eq!(names(&all), ["s4", "s2", "s0"]);
    let ended = api.get("/api/v1/sessions?status=terminated").await.ok(200);
    assert_eq!(names(&ended), ["s4"]);
    let live = api.get("/api/v1/sessions?name=s1").await.ok(200);
    assert_eq!(names(&live), ["s1"]);
    for bad in ["limit=0", "status=SLEEPING", "label=x", "cursor=x", "wrong=1"] {
        api.get(&format!("/api/v1/sessions?{bad}")).await.problem(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_session_is_renamed_labelled_and_given_another_timeout() {
    let server = Server::start().await;
    let api = server.api();
    api.create(json!({ "name": "a", "profile": "bash" })).await;
    api.create(json!({ "name": "b", "profile": "bash" })).await;
    let patch = r#"{"name":"c","labels":{"k":"v"},"idle_timeout_s":null}"#;
    let changed = api.send(Method::PATCH, "/api/v1/sessions/a", patch).await.ok(200);
    assert_eq!((&changed["name"], &changed["labels"]["k"]), (&json!("c"), &json!("v")));
    assert_eq!(changed["idle_timeout_s"], Value::Null);
    let taken = api.send(Method::PATCH, "/api/v1/sessions/c", r#"{"name":"b"}"#).await;
    taken.problem(409, "name_taken");
    api.get("/api/v1/sessions/a").await.problem(404, "not_found");
    api.create(json!({ "name": "a", "profile": "bash" })).await;
}

#[actix_web::test]
async fn health_and_readiness_answer() {
    let server = Server::start().await;
    assert_eq!(server.api().get("/healthz").await.ok(200)["status"], "ok");
    assert_eq!(server.api().get("/readyz").await.ok(200)["status"], "ready");
    assert!(server.holder_pid() > 1);
}

#[actix_web::test]
async fn who_comes_and_goes_is_activity_where_nothing_is_typed_or_printed() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "command": ["cat"] })).await["id"].as_str().unwrap().to_owned();
    let created = api.session(&id).await["last_activity_at"].clone();
    let (terminal, attached) = Terminal::attach(&server, &id, "").await;
    let came = attached["session"]["last_activity_at"].clone();
    assert!(came.as_str() > created.as_str(), "{came} {created}");
    terminal.leave().await;
    server.wait_for_sql(&format!("SELECT status FROM sessions WHERE id = '{id}'"), "IDLE").await;
    let left = api.session(&id).await["last_activity_at"].clone();
    assert!(left.as_str() > came.as_str(), "{left} {came}");
}
