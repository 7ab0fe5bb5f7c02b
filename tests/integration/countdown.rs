//! A session that is used over HTTP is not ended by its countdown.

use crate::support::{Api, Server, Terminal, soon};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// A session that its only client has left.
async fn idle(server: &mut Server, timeout_s: u64) -> String {
    let body = json!({ "command": ["cat"], "idle_timeout_s": timeout_s });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let (terminal, _) = Terminal::attach(server, &id, "").await;
    terminal.leave().await;
    let mine = |line: &Value| line["session"] == *id && line["to"] == "IDLE";
    server.wait_for_log("idle", mine).await;
    id
}

async fn destroy_at(api: &Api, id: &str) -> DateTime<Utc> {
    let session = api.session(id).await;
    session["destroy_at"].as_str().unwrap_or_else(|| panic!("{session}")).parse().unwrap()
}

/// Waits until the deadline is another one.
async fn pushed(api: &Api, id: &str, before: DateTime<Utc>) -> DateTime<Utc> {
    soon("a later deadline", async {
        loop {
            let now = destroy_at(api, id).await;
            if now != before {
                return now;
            }
        }
    })
    .await
}

const HALF_AN_HOUR: TimeDelta = TimeDelta::seconds(1800);

#[actix_web::test]
async fn whoever_uses_a_session_pushes_its_end_ahead_and_whoever_looks_does_not() {
    let mut server = Server::start().await;
    let api = server.api();
    for (use_of, body) in [
        ("/input", "x\r"),
        ("/resize", r#"{"cols":90,"rows":30}"#),
        ("/signal", r#"{"signal":"WINCH"}"#),
        ("/screen?wait=quiet:20", ""),
    ] {
        let id = idle(&mut server, 1800).await;
        let before = destroy_at(&api, &id).await;
        let path = format!("/api/v1/sessions/{id}");
        for look in ["", "/screen", "/output", "/transitions"] {
            assert_eq!(api.get(&format!("{path}{look}")).await.status, 200, "{look}");
        }
        api.get("/api/v1/sessions").await.ok(200);
        assert_eq!(destroy_at(&api, &id).await, before, "to look is not to use");
        let asked = Utc::now();
        let path = format!("{path}{use_of}");
        let reply =
            if body.is_empty() { api.get(&path).await } else { api.post(&path, body).await };
        assert_eq!(reply.status, 200, "{use_of}");
        let after = pushed(&api, &id, before).await;
        let answered = Utc::now();
        let slack = TimeDelta::milliseconds(501);
        assert!(after >= asked + HALF_AN_HOUR && after <= answered + HALF_AN_HOUR + slack);
        assert_eq!(api.session(&id).await["status"], "IDLE", "no transition");
        assert_eq!(api.transitions(&id).await.len(), 3);
        let row = format!("SELECT destroy_at FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, &stayd::protocol::rfc3339(after)).await;
    }
}

#[actix_web::test]
async fn a_countdown_does_not_run_out_while_somebody_types_and_waits() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = idle(&mut server, 2).await;
    let path = format!("/api/v1/sessions/{id}");
    let begun = Utc::now();
    // One wait that is longer than the timeout, then many that are shorter.
    let long = api.get(&format!("{path}/screen?wait=text:never&timeout_ms=4500")).await;
    assert_eq!(long.status, 408);
    for turn in 0..8 {
        api.post(&format!("{path}/input"), format!("turn-{turn}\r")).await.ok(200);
        let wait = format!("{path}/screen?wait=quiet:500&timeout_ms=1000");
        assert_eq!(api.get(&wait).await.status, 200);
    }
    assert!(Utc::now() - begun > TimeDelta::seconds(8));
    let session = api.session(&id).await;
    assert_eq!(session["status"], "IDLE", "{session}");
    // Nobody uses it any more.
    let mine = |line: &Value| line["session"] == *id && line["to"] == "TERMINATED";
    assert_eq!(server.wait_for_log("its end", mine).await["reason"], "idle_timeout");
    assert!(
        Utc::now() - session["destroy_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap()
            > TimeDelta::zero()
    );
}

#[actix_web::test]
async fn who_waits_for_the_end_of_one_session_keeps_it_until_then() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = idle(&mut server, 1).await;
    let before = destroy_at(&api, &id).await;
    let mut events = awc::Client::default()
        .get(format!("{}/api/v1/events?session={id}", api.base()))
        .bearer_auth(api.token())
        .send()
        .await
        .unwrap();
    for _ in 0..3 {
        let shown = destroy_at(&api, &id).await;
        pushed(&api, &id, shown).await;
    }
    assert!(destroy_at(&api, &id).await > before);
    // Only a kill ends it, and whoever waits hears of that.
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let mut told = String::new();
    while !told.contains("event: session.ended") {
        let piece = soon("the end", futures_util::StreamExt::next(&mut events)).await;
        told += std::str::from_utf8(&piece.unwrap().unwrap()).unwrap();
    }
}

#[actix_web::test]
async fn the_first_client_may_be_late_where_somebody_waits() {
    let mut server = Server::start().await;
    let api = server.api();
    let body = json!({ "command": ["cat"], "first_attach_timeout_s": 1 });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}/screen?wait=text:never&timeout_ms=3000");
    assert_eq!(api.get(&path).await.status, 408);
    assert_eq!(api.session(&id).await["status"], "RUNNING");
    let mine = |line: &Value| line["session"] == *id && line["to"] == "TERMINATED";
    assert_eq!(server.wait_for_log("its end", mine).await["reason"], "first_attach_timeout");
}

/// The holder keeps the deadline on a clock that runs on, and decides.
#[actix_web::test]
async fn a_deadline_that_was_pushed_ahead_survives_the_server() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = idle(&mut server, 1800).await;
    let before = destroy_at(&api, &id).await;
    let row = format!("SELECT destroy_at FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&row, &stayd::protocol::rfc3339(before)).await;
    // So that it can be told apart from the one that the row has.
    let later = before - HALF_AN_HOUR + TimeDelta::seconds(3);
    soon("three seconds", async {
        while Utc::now() < later {
            api.session(&id).await;
        }
    })
    .await;
    // The row is written behind, and not at all now.
    let db = server.db();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    api.post(&format!("/api/v1/sessions/{id}/input"), "x").await.ok(200);
    let pushed = pushed(&api, &id, before).await;
    server.kill();
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(server.sql(&row), Some(stayd::protocol::rfc3339(before)));
    server.restart().await;
    let off = destroy_at(&server.api(), &id).await - pushed;
    assert!(off.num_milliseconds().abs() < 1000, "{off}");
}

/// Leaves a bash that is idle when it is quiet as well, after it has been given a line.
async fn left_with(server: &mut Server, line: &str, timeout_s: u64) -> String {
    let body = json!({
        "profile": "bash", "idle_timeout_s": timeout_s, "idle_when": "detached_and_quiet",
    });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(server, &id, "").await;
    terminal.type_in("PS1=; stty -echo; echo $((6*7))-up\n").await;
    terminal.wait_for("42-up").await;
    terminal.type_in(&format!("{line}\n")).await;
    if !line.is_empty() {
        terminal.wait_for("begun").await;
    }
    terminal.leave().await;
    let mine = |line: &Value| line["session"] == *id && line["to"] == "IDLE";
    server.wait_for_log("idle", mine).await;
    id
}

#[actix_web::test]
async fn the_end_is_put_off_while_the_program_prints_or_a_command_runs() {
    let mut server = Server::start().await;
    let api = server.api();
    let timeout = TimeDelta::seconds(2);
    // Each works for longer than the timeout, and then stops.
    let gate = server.state().join("gate");
    let gate = gate.display();
    let prints = format!("echo begun; {{ until [ -e {gate} ]; do echo x; sleep 0.2; done; }} &");
    let runs = format!("echo begun; sh -c 'until [ -e {gate} ]; do sleep 0.2; done'");
    let prints = left_with(&mut server, &prints, 2).await;
    let runs = left_with(&mut server, &runs, 2).await;
    let begun = Utc::now();
    for id in [&prints, &runs] {
        let mut before = destroy_at(&api, id).await;
        while before < begun + timeout * 3 {
            let now = pushed(&api, id, before).await;
            assert!(now > before, "{now} after {before}");
            before = now;
        }
        let row = format!("SELECT idle_when FROM sessions WHERE id = '{id}'");
        assert_eq!(server.sql(&row).as_deref(), Some("detached_and_quiet"));
    }
    let stopped = Utc::now();
    std::fs::write(server.state().join("gate"), "").unwrap();
    for id in [&prints, &runs] {
        let ended = api.ended(id).await;
        assert_eq!(ended["end_reason"], "idle_timeout", "{ended}");
        let at: DateTime<Utc> = ended["ended_at"].as_str().unwrap().parse().unwrap();
        assert!(at >= stopped + timeout - TimeDelta::milliseconds(300), "{stopped} {at}");
    }
    // The shell's own prompt is no work.
    let quiet = left_with(&mut server, "", 1).await;
    assert_eq!(api.ended(&quiet).await["end_reason"], "idle_timeout");
}

#[actix_web::test]
async fn what_counts_as_idle_may_be_changed_and_outlives_the_server() {
    let mut server = Server::start_with(&["--idle-when", "detached_and_quiet"]).await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    assert_eq!(api.session(&id).await["idle_when"], "detached_and_quiet", "the server's");
    let path = format!("/api/v1/sessions/{id}");
    let patch = |body: Value| api.send(awc::http::Method::PATCH, &path, body.to_string());
    let changed = patch(json!({ "idle_when": "detached" })).await.ok(200);
    assert_eq!(changed["idle_when"], "detached");
    patch(json!({ "idle_when": "sometimes" })).await.problem(400, "invalid_request");
    patch(json!({ "idle_when": "detached_and_quiet", "idle_timeout_s": 2 })).await.ok(200);

    // While the server is away the deadline passes, and a command runs.
    let gate = server.state().join("gate");
    let line = format!("echo begun; sh -c 'until [ -e {} ]; do sleep 0.2; done'", gate.display());
    let busy = left_with(&mut server, &line, 2).await;
    let passes = destroy_at(&api, &busy).await + TimeDelta::seconds(1);
    server.kill();
    soon("the deadline passes", async {
        while Utc::now() < passes {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    server.restart().await;
    let api = server.api();
    let later = destroy_at(&api, &busy).await;
    assert!(later > passes);
    assert_eq!(api.session(&busy).await["idle_when"], "detached_and_quiet");
    pushed(&api, &busy, later).await;
    std::fs::write(gate, "").unwrap();
    assert_eq!(api.ended(&busy).await["end_reason"], "idle_timeout");
}
