//! Sessions whose command is started again under the same id, and what ended ones show.

use crate::support::{Server, Terminal, marked, soon};
use serde_json::{Value, json};
use std::path::Path;

/// Counts its runs in a file of its directory, and says which this is.
const COUNT: &str = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n >n; echo run-$((n));";

fn counting(dir: &Path, rest: &str) -> Value {
    json!({ "command": ["bash", "-c", format!("{COUNT} {rest}")], "cwd": dir })
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn id_of(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

async fn restart(server: &Server, id: &str) -> Value {
    server.api().post(&format!("/api/v1/sessions/{id}/restart"), "").await.ok(200)
}

async fn screen(server: &Server, id: &str) -> String {
    let path = format!("/api/v1/sessions/{id}/screen?scrollback=1000");
    let reply = server.api().get(&path).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
    String::from_utf8(reply.bytes).unwrap()
}

async fn shows(server: &Server, id: &str, text: &str) -> String {
    let path = format!("/api/v1/sessions/{id}/screen?scrollback=1000&wait=text:{text}");
    let reply = server.api().get(&path).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
    String::from_utf8(reply.bytes).unwrap()
}

async fn ended(server: &mut Server, id: &str) {
    server.wait_for_log("an end", |line| line["session"] == id && line["msg"] == "ended").await;
}

async fn restarted(server: &mut Server, id: &str) {
    let again = |line: &Value| line["session"] == id && line["reason"] == "restarted";
    server.wait_for_log("a restart", again).await;
}

/// The transitions as `FROM TO reason`.
async fn history(server: &Server, id: &str) -> Vec<String> {
    let rows = server.api().transitions(id).await;
    let text = |from: &Value| from.as_str().unwrap_or("-").to_owned();
    rows.iter().map(|(from, to, reason)| format!("{} {to} {reason}", text(from))).collect()
}

#[actix_web::test]
async fn a_live_session_is_started_again_and_its_clients_go_on() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let session = api.create(counting(dir.path(), "exec sleep 1000")).await;
    let id = id_of(&session);
    let (mut before, _) = Terminal::attach(&server, &id, "client=a").await;
    before.wait_for("run-1").await;

    let again = restart(&server, &id).await;
    assert_eq!((&again["id"], &again["restarts"]), (&session["id"], &json!(1)));
    assert_eq!((&again["ended_at"], &again["end_reason"]), (&Value::Null, &Value::Null));
    assert_ne!(again["pid"], session["pid"]);
    assert!(again["offset"].as_u64() >= Some(before.offset));
    let (code, reason) = before.closed().await;
    assert_eq!((code, &*reason), (1001, "the session is being started again; reconnect"));

    let place = format!("client=a&session={id}&offset={}", before.offset);
    let (mut after, attached) = Terminal::attach(&server, &id, &place).await;
    assert_eq!(attached["offset"], before.offset, "not a byte is missing");
    after.wait_for("run-2").await;
    assert!(after.text().contains("started again"), "{}", after.text());
    // A client that comes fresh sees what was there before.
    let whole = screen(&server, &id).await;
    assert!(whole.find("run-1").unwrap() < whole.find("run-2").unwrap(), "{whole}");
    let expected = [
        "- RUNNING created",
        "RUNNING ACTIVE attached",
        "ACTIVE TERMINATED killed",
        "TERMINATED RUNNING restarted",
        "RUNNING ACTIVE attached",
    ];
    assert_eq!(history(&server, &id).await, expected);
}

#[actix_web::test]
async fn an_ended_session_shows_its_last_screen_and_is_started_again() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let body =
        with(counting(dir.path(), "printf '\\e[31mbye\\e[0m'; exit 4"), json!({ "name": "x" }));
    let id = id_of(&api.create(body).await);
    ended(&mut server, &id).await;
    let path = format!("/api/v1/sessions/{id}/screen");
    let last = api.get(&path).await;
    assert_eq!(last.status, 200);
    let offset = api.session(&id).await["offset"].to_string();
    assert_eq!(last.headers.get("x-stayd-offset").unwrap(), offset.as_str());
    assert!(screen(&server, &id).await.starts_with("run-1\nbye\n"));
    let json = api.get(&format!("{path}?format=json")).await.ok(200);
    assert_eq!(json["lines"][1][0]["fg"], 1, "{json}");
    let ansi = api.get(&format!("{path}?format=ansi")).await.bytes;
    assert!(String::from_utf8(ansi).unwrap().contains("\x1b[31mbye"));
    // What will not come is not waited for.
    let never = api.get(&format!("{path}?wait=text:never")).await.problem(410, "ended");
    assert!(never["screen"].as_str().unwrap().contains("bye"));

    let other = id_of(&api.create(json!({ "name": "x", "command": ["sleep", "1000"] })).await);
    let taken = api.post(&format!("/api/v1/sessions/{id}/restart"), "").await;
    taken.problem(409, "name_taken");
    assert!(screen(&server, &id).await.starts_with("run-1\nbye\n"), "nothing is lost by that");
    api.delete(&format!("/api/v1/sessions/{other}")).await.ok(200);
    let again = restart(&server, &id).await;
    assert_eq!(again["name"], "x");
    ended(&mut server, &id).await;
    let both = screen(&server, &id).await;
    assert!(both.starts_with("run-1\nbye\n[exited with code 4; started again"), "{both}");
    assert!(both.contains("run-2\nbye\n"), "{both}");
    api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    api.get(&path).await.problem(404, "not_found");
    assert_eq!(server.sql("SELECT count(*) FROM screens WHERE cols > 0").as_deref(), Some("1"));
    api.post("/api/v1/sessions/nobody/restart", "").await.problem(404, "not_found");
}

#[actix_web::test]
async fn what_fails_comes_back_by_its_policy_and_what_is_killed_does_not() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let policy = json!({ "restart": "on-failure", "name": "worker" });
    let body = with(counting(dir.path(), "test $n -ge 3 && exec sleep 1000; exit 3"), policy);
    let id = id_of(&api.create(body).await);
    ended(&mut server, &id).await;
    // Waiting for its turn, it is still there for everybody, under its name.
    let listed = api.get("/api/v1/sessions").await.ok(200);
    let waiting = &listed["sessions"][0];
    assert_eq!((&waiting["id"], &waiting["status"]), (&json!(id), &json!("ERROR")));
    assert!(waiting["restart_at"].is_string(), "{waiting}");
    let same = json!({ "name": "worker", "command": ["true"] }).to_string();
    api.post("/api/v1/sessions", same.clone()).await.problem(409, "name_taken");
    let attach = format!("/api/v1/sessions/{id}/attach");
    let mut early = Terminal::open(&api, &attach, Some("stayd.v1")).await;
    assert_eq!(early.closed().await.0, 1001, "worth another try");

    restarted(&mut server, &id).await;
    restarted(&mut server, &id).await;
    shows(&server, &id, "run-3").await;
    let metrics = String::from_utf8(api.get("/metrics").await.bytes).unwrap();
    assert!(metrics.contains("\nstayd_restarts_total 2\n"), "{metrics}");
    let session = api.session("worker").await;
    assert_eq!((&session["restarts"], &session["restart_at"]), (&json!(2), &Value::Null));
    assert_eq!(session["status"], "RUNNING");
    let killed = api.delete("/api/v1/sessions/worker").await.ok(200);
    assert_eq!((&killed["end_reason"], &killed["restart_at"]), (&json!("killed"), &Value::Null));
    api.post("/api/v1/sessions", same).await.ok(201);
}

#[actix_web::test]
async fn a_kill_while_it_waits_is_the_end() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let body = with(counting(dir.path(), "exit 0"), json!({ "restart": "always", "name": "x" }));
    let id = id_of(&api.create(body).await);
    ended(&mut server, &id).await;
    let killed = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!((&killed["end_reason"], &killed["restart_at"]), (&json!("exited"), &Value::Null));
    let query = format!("SELECT count(*) FROM sessions WHERE id = '{id}' AND restart_at IS NULL");
    server.wait_for_sql(&query, "1").await;
    // Its name is free, and nothing of it is left after another server has looked.
    api.create(json!({ "name": "x", "command": ["sleep", "1000"] })).await;
    server.kill_and_restart().await;
    assert_eq!(server.api().session(&id).await["status"], "TERMINATED");
    assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap(), "1\n");
}

#[actix_web::test]
async fn a_restart_that_is_due_survives_the_server() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let body = with(
        counting(dir.path(), "test $n = 2 && exec sleep 1000; exit 3"),
        json!({ "restart": "always", "idle_timeout_s": 600 }),
    );
    let id = id_of(&server.api().create(body).await);
    let row = format!("SELECT count(*) FROM sessions WHERE id = '{id}' AND restart_at IS NOT NULL");
    server.wait_for_sql(&row, "1").await;
    server.kill_and_restart().await;
    restarted(&mut server, &id).await;
    let whole = shows(&server, &id, "run-2").await;
    assert!(whole.contains("run-1"), "{whole}");
    // What was handed on outlives the next server, too.
    server.kill_and_restart().await;
    let whole = shows(&server, &id, "run-2").await;
    assert!(whole.contains("run-1"), "{whole}");
    assert_eq!(server.api().session(&id).await["restarts"], 1);
}

#[actix_web::test]
async fn a_restart_that_was_asked_for_survives_the_server() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    // It takes the second signal to end it, one second after the first.
    let id =
        id_of(&api.create(counting(dir.path(), "trap '' HUP; while :; do sleep 0.05; done")).await);
    shows(&server, &id, "run-1").await;
    let path = format!("/api/v1/sessions/{id}/restart");
    let asked =
        actix_web::rt::spawn(async move { api.try_send("POST".parse().unwrap(), &path, "").await });
    let row =
        format!("SELECT count(*) FROM sessions WHERE id = '{id}' AND ending_reason = 'killed'");
    server.wait_for_sql(&row, "1").await;
    server.kill();
    assert!(soon("the request's failure", asked).await.unwrap().is_err());
    server.restart().await;
    restarted(&mut server, &id).await;
    let whole = shows(&server, &id, "run-2").await;
    assert!(whole.contains("run-1"), "{whole}");
}

#[actix_web::test]
async fn a_server_killed_at_any_moment_of_a_restart_loses_and_doubles_none() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let body = with(counting(dir.path(), "exec sleep 1000"), json!({ "name": "x" }));
    let id = id_of(&server.api().create(body).await);
    shows(&server, &id, "run-1").await;
    let mut restarted = 0;
    for round in 0..16 {
        let (api, path) = (server.api(), format!("/api/v1/sessions/{id}/restart"));
        let post = "POST".parse().unwrap();
        let asked = actix_web::rt::spawn(async move { api.try_send(post, &path, "").await });
        // The moments of a restart are some milliseconds apart.
        actix_web::rt::time::sleep(std::time::Duration::from_millis(round * 4)).await;
        server.kill();
        let answered = soon("an answer or a failure", asked).await.unwrap().is_ok();
        server.restart().await;
        let api = server.api();
        let session = soon("the session, as it was or again", async {
            loop {
                let session = api.session("x").await;
                let lives = ["RUNNING", "IDLE"].contains(&session["status"].as_str().unwrap());
                if lives && session["restart_at"].is_null() && session["pid"].is_number() {
                    return session;
                }
            }
        })
        .await;
        let restarts = session["restarts"].as_u64().unwrap();
        assert!(!answered || restarts > restarted, "what was answered was done: {session}");
        assert!(restarts <= restarted + 1, "{session}");
        let screen = shows(&server, &id, &format!("run-{}", restarts + 1)).await;
        assert!(screen.starts_with("run-1\n"), "{screen}");
        // Each run counts itself: there was none that nobody knows of.
        let runs = std::fs::read_to_string(dir.path().join("n")).unwrap();
        assert_eq!(runs.trim(), (restarts + 1).to_string());
        soon("one process", async {
            // While it becomes another program it has no environment to be seen.
            while marked(&id) != 1 {
                actix_web::rt::task::yield_now().await;
            }
        })
        .await;
        restarted = restarts;
    }
    assert!(restarted > 3, "{restarted} of 16");
}

#[actix_web::test]
async fn what_is_lost_with_its_holder_comes_back_behind_all_that_was_seen() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let body = with(counting(dir.path(), "exec sleep 1000"), json!({ "restart": "always" }));
    let id = id_of(&server.api().create(body).await);
    let (mut client, _) = Terminal::attach(&server, &id, "client=a").await;
    client.wait_for("run-1").await;
    server.kill_holder();
    server.ended().await;
    server.restart_anywhere().await;
    restarted(&mut server, &id).await;
    let place = format!("client=a&session={id}&offset={}", client.offset);
    let (mut client, attached) = Terminal::attach(&server, &id, &place).await;
    assert!(attached["offset"].as_u64() >= Some(1 << 40), "{attached}");
    client.wait_for("run-2").await;
    assert!(history(&server, &id).await.contains(&"TERMINATED IDLE restarted".to_owned()));
}

#[actix_web::test]
async fn a_program_takes_up_what_it_has_told_the_name_of() {
    let dir = tempfile::tempdir().unwrap();
    let claude = dir.path().join("claude");
    let conversation = "0b0c7c2e-59d4-4f0c-8d8e-0a1b2c3d4e5f";
    let script = format!(
        "#!/bin/bash\necho \"arguments: $* ${{#}}\"\nread -r line\n\
         printf '\\nResume this session with:\\nclaude --resume {conversation}\\n'\n"
    );
    std::fs::write(&claude, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&claude, executable).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut server = Server::start_in(Server::dir(), vec![("PATH".to_owned(), path)]).await;
    let id = id_of(&server.api().create(json!({ "profile": "claude", "cols": 40 })).await);
    shows(&server, &id, "arguments:%20%200").await;
    server.api().post(&format!("/api/v1/sessions/{id}/input"), "\r").await.ok(200);
    ended(&mut server, &id).await;
    restart(&server, &id).await;
    let resumed = format!("arguments:%20--resume%20{conversation}%202");
    shows(&server, &id, &resumed).await;
    assert_eq!(server.api().session(&id).await["command"], json!(["claude"]));
}

#[actix_web::test]
async fn of_two_who_administer_the_second_is_told_and_nothing_is_restarted_for_them() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let body = with(counting(dir.path(), "read -r line; exit 0"), json!({ "name": "x" }));
    let id = id_of(&api.create(body).await);
    let (path, old) = (format!("/api/v1/sessions/{id}"), api.get("/api/v1/sessions/x").await);
    let tag = old.headers.get("etag").unwrap().to_str().unwrap().to_owned();
    api.send("PATCH".parse().unwrap(), &path, r#"{"name":"y"}"#).await.ok(200);
    let headers = [("If-Match", &*tag)];
    let restart = format!("{path}/restart");
    let post = || "POST".parse().unwrap();
    api.send_with(post(), &restart, &headers, "").await.problem(412, "changed");
    // It ends by itself later, and stays so.
    api.post(&format!("{path}/input"), "\r").await.ok(200);
    ended(&mut server, &id).await;
    api.send_with(post(), &restart, &headers, "").await.problem(412, "changed");
    let (count, reply) = (dir.path().join("n"), api.get(&path).await);
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "1\n");
    let tag = reply.headers.get("etag").unwrap().to_str().unwrap().to_owned();
    let again = api.send_with(post(), &restart, &[("If-Match", &*tag)], "").await;
    assert_eq!(again.ok(200)["name"], "y");
    shows(&server, &id, "run-2").await;
    let rows = api.get(&format!("{path}/transitions")).await.ok(200);
    let last = rows["transitions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["reason"], &last["caused_by"]), (&json!("restarted"), &json!("owner")));
    assert_eq!(last["address"], "127.0.0.1");
}

#[actix_web::test]
async fn what_cannot_be_started_any_more_says_so_and_keeps_its_screen() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let gone = dir.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let id = id_of(&server.api().create(counting(&gone, "exit 3")).await);
    ended(&mut server, &id).await;
    std::fs::remove_dir_all(&gone).unwrap();
    let path = format!("/api/v1/sessions/{id}/restart");
    let failed = server.api().post(&path, "").await.problem(422, "spawn_failed");
    assert_eq!((&failed["step"], &failed["session"]["id"]), (&json!("chdir"), &json!(id)));
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains(gone.to_str().unwrap()), "it says which: {detail}");
    let session = server.api().session(&id).await;
    assert_eq!(
        (&session["status"], &session["end_reason"]),
        (&json!("ERROR"), &json!("spawn_failed"))
    );
    assert!(screen(&server, &id).await.contains("run-1"));
    std::fs::create_dir(&gone).unwrap();
    restart(&server, &id).await;
    ended(&mut server, &id).await;
    assert!(screen(&server, &id).await.contains("[ended; started again"));
}
