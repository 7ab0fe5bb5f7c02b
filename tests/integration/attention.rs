//! What a session's program does: reports from inside, signs of shells, rules for screens; and who may
//! say so.

use crate::cli::{code_and_text, verb};
use crate::events::Events;
use crate::support::{Api, Server};
use serde_json::{Value, json};

/// A shell in which `stayd report` finds this test's program, and its server by itself.
pub(crate) async fn reporter(server: &Server, name: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_stayd")).parent().expect("a directory");
    let script =
        format!("PATH={}:$PATH; while read -r line; do eval \"$line\"; done", program.display());
    let body = json!({ "name": name, "command": ["bash", "-c", script] });
    server.api().create(body).await["id"].as_str().expect("an id").to_owned()
}

async fn line(api: &Api, id: &str, line: &str) {
    api.post(&format!("/api/v1/sessions/{id}/input"), format!("{line}\n")).await.ok(200);
}

/// Waits until the program is in this state, and returns what is known.
pub(crate) async fn becomes(api: &Api, id: &str, state: &str) -> Value {
    let path = format!("/api/v1/sessions/{id}/screen?wait=state:{state}&timeout_ms=30000");
    let waited = api.get(&path).await;
    assert_eq!(waited.status.as_u16(), 200, "{state}: {:?}", api.session(id).await["attention"]);
    let attention = api.session(id).await["attention"].clone();
    assert_eq!(attention["state"], state, "{attention}");
    attention
}

#[actix_web::test]
async fn a_program_reports_for_its_own_session_and_may_nothing_else() {
    let mut server = Server::start().await;
    let api = server.api();
    let (id, other) = (reporter(&server, "agent").await, reporter(&server, "other").await);
    assert_eq!(api.session(&id).await["attention"]["state"], "unknown");

    line(&api, &id, "stayd report --state blocked --message 'May I run rm?' --seq 7").await;
    let attention = becomes(&api, &id, "blocked").await;
    assert_eq!(attention["message"], "May I run rm?");
    assert_eq!(attention["source"], "report");
    let (code, table) = code_and_text(&verb(&server, &["ls"]));
    assert!(code == Some(0) && table.contains("blocked 0s: May I run rm?"), "{table}");

    // Neither for another, nor anything else.
    line(&api, &id, &format!("stayd report {other} --state done; echo code=$?")).await;
    let path = format!("/api/v1/sessions/{id}/screen?wait=regex:code%3D%5Cd&timeout_ms=30000");
    let refused = String::from_utf8(api.get(&path).await.bytes).unwrap();
    assert!(refused.contains("code=1"), "{refused}");
    assert_eq!(api.session(&other).await["attention"]["state"], "unknown");

    // An older report is ignored, and a later server knows what this one knew.
    let report = async |api: &Api, report: Value| {
        api.post(&format!("/api/v1/sessions/{id}/attention"), report.to_string()).await
    };
    let asks = json!({ "state": "blocked", "message": "Well?", "seq": 8 });
    let answer = report(&api, asks).await.ok(200);
    assert_eq!(
        (&answer["accepted"], &answer["attention"]["message"]),
        (&json!(true), &json!("Well?"))
    );
    let answer = report(&api, json!({ "state": "done", "seq": 8 })).await.ok(200);
    assert_eq!((&answer["accepted"], &answer["last_seq"]), (&json!(false), &json!(8)));
    let before = api.session(&id).await["attention"].clone();
    server
        .wait_for_sql(
            "SELECT json_extract(attention, '$.message') FROM sessions WHERE name = 'agent'",
            "Well?",
        )
        .await;
    server.kill_and_restart().await;
    let api = server.api();
    assert_eq!(api.session(&id).await["attention"], before);
    let answer = report(&api, json!({ "state": "done", "seq": 7 })).await.ok(200);
    assert_eq!(answer["accepted"], false);
    for bad in [json!({}), json!({ "state": "busy" }), json!({ "state": "done", "x": 1 })] {
        report(&api, bad).await.problem(400, "invalid_request");
    }
    // What has ended does nothing any more.
    api.delete(&format!("/api/v1/sessions/{id}")).await;
    api.ended(&id).await;
    assert_eq!(api.session(&id).await["attention"]["state"], "unknown");
    report(&api, json!({ "state": "done" })).await.problem(410, "ended");
}

#[actix_web::test]
async fn a_wait_for_a_state_counts_what_comes_after_it() {
    let server = Server::start().await;
    let api = server.api();
    let id = reporter(&server, "agent").await;
    line(&api, &id, "stayd report --state done --message one").await;
    let first = becomes(&api, &id, "done").await;
    let since = first["since"].as_str().unwrap();
    let path = format!("/api/v1/sessions/{id}/screen?wait=state:blocked%7Cdone");
    assert_eq!(api.get(&format!("{path}&since={since}&timeout_ms=0")).await.status.as_u16(), 408);
    let newer = format!("{path}&since={since}");
    let (later, ()) = tokio::join!(api.get(&newer), async {
        line(&api, &id, "stayd report --state working; stayd report --state done --message two")
            .await;
    });
    assert_eq!(later.status.as_u16(), 200);
    assert_eq!(api.session(&id).await["attention"]["message"], "two");
    let waited = verb(&server, &["wait", "agent", "--state", "done", "--timeout", "30"]);
    assert!(waited.status.success(), "{waited:?}");
    let waited =
        verb(&server, &["wait", "agent", "--state", "done", "--from-now", "--timeout", "1"]);
    assert_eq!(waited.status.code(), Some(124));
    for bad in
        ["wait=state:busy", "wait=state:done&after=0", "wait=quiet:5&since=2026-01-01T00:00:00Z"]
    {
        let path = format!("/api/v1/sessions/{id}/screen?{bad}");
        api.get(&path).await.problem(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_report_ends_with_its_program_however_that_ends() {
    let server = Server::start().await;
    let api = server.api();
    let program = env!("CARGO_BIN_EXE_stayd");
    // An interactive shell gives each command the terminal.
    let agent = format!("sh -c '{program} report --state blocked --message m; kill -9 $$'");
    let body = json!({ "command": ["bash", "--norc", "-i"] });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let query = format!("session={id}&type=attention");
    let mut events = Events::listen(&api, &query, None).await;
    line(&api, &id, &agent).await;
    for (state, before) in [("blocked", "unknown"), ("unknown", "blocked")] {
        let told = events.next().await;
        assert_eq!(told.kind, "session.attention");
        assert_eq!((&told.data["state"], &told.data["before"]), (&json!(state), &json!(before)));
    }
    // That something was done stays true.
    line(&api, &id, &format!("sh -c '{program} report --state done --message all'; echo")).await;
    becomes(&api, &id, "done").await;
    let quiet = format!("/api/v1/sessions/{id}/screen?wait=quiet:1000");
    api.get(&quiet).await;
    assert_eq!(api.session(&id).await["attention"]["state"], "done");
}

#[actix_web::test]
async fn rules_read_the_screen_of_a_program_that_they_know() {
    let mut server = Server::start().await;
    let api = server.api();
    let dir = tempfile::tempdir().unwrap();
    let claude = dir.path().join("claude");
    let screen = |text: &str| format!("printf '\\033[H\\033[2J{text}'");
    let script = format!(
        "#!/bin/bash\nstty -echo\n{}; read -r _; {}; read -r _; {}; read -r _; {}; read -r _",
        screen("* Thinking (3s - esc to interrupt)\\n> "),
        screen("Do you want to proceed?\\n> 1. Yes\\n  2. No\\n"),
        screen("* Thinking (3s - esc to interrupt)\\n> "),
        screen("All done.\\n> "),
    );
    std::fs::write(&claude, script).unwrap();
    let body = json!({ "command": ["bash", claude] });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    assert_eq!(becomes(&api, &id, "working").await["source"], "rules");
    line(&api, &id, "").await;
    let asks = becomes(&api, &id, "blocked").await;
    assert_eq!(asks["message"], "Do you want to proceed?");
    // It prints nothing more, and is known to wait whatever server looks.
    server.wait_for_sql("SELECT json_extract(attention, '$.state') FROM sessions", "blocked").await;
    server.kill_and_restart().await;
    let api = server.api();
    let path = format!("/api/v1/sessions/{id}/screen?wait=quiet:1000");
    api.get(&path).await;
    assert_eq!(api.session(&id).await["attention"], asks);
    line(&api, &id, "").await;
    becomes(&api, &id, "working").await;
    line(&api, &id, "").await;
    becomes(&api, &id, "done").await;
}

#[actix_web::test]
async fn what_a_share_link_reports_shows_no_message_and_reports_do_not_fill_the_audit_log() {
    let server = Server::start().await;
    let api = server.api();
    let id = reporter(&server, "agent").await;
    line(&api, &id, "stayd report --state blocked --message secret --seq 7").await;
    becomes(&api, &id, "blocked").await;
    let share = json!({ "mode": "rw" }).to_string();
    let share = api.post(&format!("/api/v1/sessions/{id}/shares"), share).await.ok(201);
    let guest = api.with_token(share["token"].as_str().unwrap());
    for report in [json!({ "state": "blocked", "seq": 1 }), json!({ "state": "blocked" })] {
        let path = format!("/api/v1/sessions/{id}/attention");
        let answer = guest.post(&path, report.to_string()).await.ok(200);
        assert_eq!(answer["attention"]["message"], Value::Null, "{answer}");
    }
    // What is refused inside a session is written down, and what is done again and again once.
    line(&api, &id, "for i in 1 2 3; do stayd report --state idle; stayd ls; done").await;
    becomes(&api, &id, "idle").await;
    let count = |action: &str, outcome: &str| {
        format!(
            "SELECT count(*) FROM audit WHERE principal = 'session-{id}' AND action = '{action}' \
             AND outcome = '{outcome}'"
        )
    };
    server.wait_for_sql(&count("session.list", "refused"), "1").await;
    server.wait_for_sql(&count("session.report", "done"), "1").await;
}

#[actix_web::test]
async fn a_report_ends_with_its_program_although_nothing_is_printed() {
    let server = Server::start().await;
    let api = server.api();
    let program = env!("CARGO_BIN_EXE_stayd");
    let body = json!({ "command": ["bash", "--norc", "-i"] });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let agent =
        format!("bash -c '{program} report --state blocked --message stale; true'; sleep 1000");
    line(&api, &id, &agent).await;
    let query = format!("session={id}&type=attention");
    let mut events = Events::listen(&api, &query, None).await;
    while api.session(&id).await["attention"]["state"] == "blocked" {
        let told = events.next().await;
        if told.data["before"] == "blocked" {
            break;
        }
    }
    becomes(&api, &id, "unknown").await;
}
