//! What happens between two steps of something else: ends, restarts, stops and changes that
//! cross each other.

use crate::support::{Api, Server, marked, soon};
use awc::http::Method;
use futures_util::future::{join, join_all, select};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn id_of(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

async fn patch(api: &Api, id: &str, body: Value) -> Value {
    let path = format!("/api/v1/sessions/{id}");
    api.send(Method::PATCH, &path, body.to_string()).await.ok(200)
}

#[actix_web::test]
async fn a_restart_right_after_the_end_starts_a_new_process() {
    let server = Server::start().await;
    let api = server.api();
    let one = async |n: usize| {
        let session = api.create(json!({ "command": ["cat"] })).await;
        let id = id_of(&session);
        let path = format!("/api/v1/sessions/{id}");
        let mut pid = session["pid"].clone();
        for turn in 1..=10 {
            // By a kill, and by itself.
            if (n + turn).is_multiple_of(2) {
                api.delete(&path).await.ok(200);
            } else {
                api.post(&format!("{path}/input"), "\x04").await.ok(200);
                api.get(&format!("{path}/screen?wait=text:never")).await.problem(410, "ended");
            }
            let again = api.post(&format!("{path}/restart"), "").await.ok(200);
            assert_eq!((&again["status"], &again["end_reason"]), (&json!("RUNNING"), &Value::Null));
            assert_eq!(again["restarts"], turn, "{again}");
            assert_ne!(again["pid"], pid);
            pid = again["pid"].clone();
            assert_eq!(api.session(&id).await["status"], "RUNNING");
        }
    };
    join_all((0..6).map(one)).await;
}

#[actix_web::test]
async fn a_session_that_is_being_started_when_all_are_ended_is_ended_too() {
    let mut server = Server::start().await;
    let api = server.api();
    let before = id_of(&api.create(json!({ "command": ["sleep", "1000"] })).await);
    // Its start waits for the holder.
    let holder = Pid::from_raw(server.holder_pid());
    kill(holder, Signal::SIGSTOP).unwrap();
    let body = json!({ "name": "late", "command": ["sleep", "1000"] }).to_string();
    let post = || {
        let (api, body) = (api.clone(), body.clone());
        async move { api.try_send(Method::POST, "/api/v1/sessions", body).await }
    };
    // One of two gets the name, and the other hears of that at once.
    let either = select(Box::pin(post()), Box::pin(post()));
    let (refused, late) = soon("the name is taken", either).await.factor_first();
    refused.unwrap().problem(409, "name_taken");
    kill(Pid::from_raw(server.pid()), Signal::SIGUSR2).unwrap();
    server.wait_for_log("ending", |line| line["msg"] == "ending all sessions").await;
    kill(holder, Signal::SIGCONT).unwrap();
    let stopped = server.wait_for_log("the stop", |line| line["msg"] == "stopped").await;
    assert_eq!(stopped["sessions"], "ended");
    assert!(server.stop_waiting().success());
    drop(late);
    let live = "SELECT count(*) FROM sessions WHERE status NOT IN ('TERMINATED', 'ERROR')";
    assert_eq!(server.sql(live).as_deref(), Some("0"));
    let row = "SELECT id || ' ' || end_reason FROM sessions WHERE name = 'late'";
    let row = server.sql(row).unwrap();
    let (late, reason) = row.split_once(' ').unwrap();
    assert_eq!((reason, marked(late), marked(&before)), ("killed", 0, 0));
}

#[actix_web::test]
async fn a_stop_says_that_the_sessions_run_on() {
    let mut server = Server::start().await;
    let id = server.api().run("sleep 1000").await;
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).unwrap();
    let stopped = server.wait_for_log("the stop", |line| line["msg"] == "stopped").await;
    assert_eq!(stopped["sessions"], "running on");
    assert!(marked(&id) > 0);
}

#[actix_web::test]
async fn what_a_patch_has_changed_survives_the_server() {
    let mut server = Server::start().await;
    let id = id_of(
        &server
            .api()
            .create(json!({
                "command": ["cat"], "labels": { "a": "1", "b": "2" },
            }))
            .await,
    );
    // More than the holder has room for, then few, then none: the row is written behind or not.
    let many: Value = (0..30)
        .map(|n| (n.to_string(), json!("x".repeat(250))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (labels, locked) in [
        (json!({ "a": "3" }), true),
        (many, false),
        (json!({ "b": "4" }), true),
        (json!({}), true),
        (json!({ "c": "5" }), false),
    ] {
        let api = server.api();
        let db = server.db();
        if locked {
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        let changed = patch(
            &api,
            &id,
            json!({ "labels": labels, "name": format!("n{}", labels.as_object().unwrap().len()) }),
        )
        .await;
        assert_eq!(changed["labels"], labels);
        server.kill();
        drop(db);
        server.restart().await;
        let session = server.api().session(&id).await;
        assert_eq!((&session["labels"], &session["name"]), (&labels, &changed["name"]));
        server
            .wait_for_sql(
                &format!("SELECT labels FROM sessions WHERE id = '{id}'"),
                &labels.to_string(),
            )
            .await;
    }
}

/// A name is one session's at a time, however renames, ends and creations cross each other.
#[actix_web::test]
async fn names_are_free_again_whatever_crosses_a_rename() {
    let server = Server::start().await;
    let api = server.api();
    for turn in 0..15 {
        let body = |name: &str| json!({ "name": name, "command": ["cat"] });
        let (old, new) = (format!("old-{turn}"), format!("new-{turn}"));
        let id = id_of(&api.create(body(&old)).await);
        let path = format!("/api/v1/sessions/{id}");
        let renamed = json!({ "name": new }).to_string();
        let (renamed, killed) =
            join(api.send(Method::PATCH, &path, renamed), api.delete(&path)).await;
        assert!([200, 410].contains(&renamed.status.as_u16()), "{}", renamed.status);
        killed.ok(200);
        for name in [old, new] {
            let again = id_of(&api.create(body(&name)).await);
            api.delete(&format!("/api/v1/sessions/{again}")).await.ok(200);
        }
    }
}
