//! A wall clock that is set, forwards and back: nothing is destroyed early or late.

use crate::support::shim::Clock;
use crate::support::{Server, Terminal};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

const HOUR: i64 = 3600;

async fn idle(server: &mut Server, timeout_s: u64) -> String {
    let body = json!({ "profile": "bash", "idle_timeout_s": timeout_s });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let (terminal, _) = Terminal::attach(server, &id, "").await;
    terminal.leave().await;
    let mine = |line: &Value| line["session"] == *id && line["to"] == "IDLE";
    server.wait_for_log("idle", mine).await;
    id
}

async fn destroy_at(server: &Server, id: &str) -> DateTime<Utc> {
    let session = server.api().session(id).await;
    assert_eq!(session["status"], "IDLE", "{session}");
    session["destroy_at"].as_str().unwrap().parse().unwrap()
}

fn assert_moved(before: DateTime<Utc>, after: DateTime<Utc>, by: i64) {
    let off = after - before - TimeDelta::seconds(by);
    assert!(off.num_milliseconds().abs() < 1500, "{before} {after} {by}");
}

async fn noticed(server: &mut Server) {
    let fits = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains("clock was set"));
    server.wait_for_log("the jump is noticed", fits).await;
}

#[actix_web::test]
async fn a_clock_that_is_set_destroys_nothing_and_is_shown() {
    let clock = Clock::new();
    let mut server = Server::start_in(Server::dir(), clock.env()).await;
    let id = idle(&mut server, 1000).await;
    let before = destroy_at(&server, &id).await;
    let row = |at: DateTime<Utc>| {
        let at = stayd::protocol::rfc3339(at);
        (format!("SELECT destroy_at FROM sessions WHERE id = '{id}'"), at)
    };
    for ahead in [2 * HOUR, -3 * HOUR, 0] {
        clock.set(ahead);
        noticed(&mut server).await;
        // The log line comes first.
        let after = server.api().session(&id).await;
        let mut shown = destroy_at(&server, &id).await;
        while (shown - before - TimeDelta::seconds(ahead)).num_seconds().abs() > 1 {
            assert_eq!(after["status"], "IDLE");
            shown = destroy_at(&server, &id).await;
        }
        assert_moved(before, shown, ahead);
        let (query, value) = row(shown);
        server.wait_for_sql(&query, &value).await;
    }
    // Across a restart, and set while nobody looked.
    for ahead in [5 * HOUR, -4 * HOUR] {
        server.kill();
        clock.set(ahead);
        server.restart().await;
        assert_moved(before, destroy_at(&server, &id).await, ahead);
    }
}

#[actix_web::test]
async fn a_deadline_comes_when_it_would_have_though_the_clock_was_set_back() {
    let clock = Clock::new();
    let mut server = Server::start_in(Server::dir(), clock.env()).await;
    let live = idle(&mut server, 3).await;
    clock.set(-5 * HOUR);
    let mine = |line: &Value| line["session"] == *live && line["to"] == "TERMINATED";
    assert_eq!(server.wait_for_log("the end", mine).await["reason"], "idle_timeout");
    let over = idle(&mut server, 3).await;
    server.kill();
    clock.set(-10 * HOUR);
    server.restart().await;
    let mine = |line: &Value| line["session"] == *over && line["to"] == "TERMINATED";
    assert_eq!(server.wait_for_log("the end", mine).await["reason"], "idle_timeout");
}
