//! How sessions end, and what is kept of it.

use crate::support::{Server, Terminal};
use serde_json::{Value, json};

async fn end_of(server: &mut Server, script: &str) -> Value {
    let id = server.api().run(script).await;
    let mine = |line: &Value| line["session"] == id && line["msg"] == "ended";
    server.wait_for_log("end", mine).await;
    server.api().session(&id).await
}

#[actix_web::test]
async fn the_exit_code_decides() {
    let mut server = Server::start().await;
    let three = end_of(&mut server, "exit 3").await;
    assert_eq!((&three["status"], &three["end_reason"]), (&json!("ERROR"), &json!("exited")));
    assert_eq!((&three["exit_code"], &three["exit_signal"]), (&json!(3), &Value::Null));
    assert!(three["ended_at"].is_string());
    let zero = end_of(&mut server, "exit 0").await;
    assert_eq!((&zero["status"], &zero["end_reason"]), (&json!("TERMINATED"), &json!("exited")));
    assert_eq!(zero["exit_code"], 0);
    let signal = end_of(&mut server, "kill -SEGV $$").await;
    assert_eq!((&signal["status"], &signal["end_reason"]), (&json!("ERROR"), &json!("signaled")));
    assert_eq!((&signal["exit_code"], &signal["exit_signal"]), (&Value::Null, &json!(11)));
}

#[actix_web::test]
async fn a_signal_that_was_asked_for_is_no_error() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = api.run("echo up; exec sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    api.post(&format!("/api/v1/sessions/{id}/signal"), r#"{"signal":"TERM"}"#).await.ok(200);
    let exit = terminal.control("exit").await;
    assert_eq!(exit, json!({ "type": "exit", "code": null, "signal": 15, "reason": "signaled" }));
    assert_eq!(terminal.closed().await.0, 1000);
    server.wait_for_log("end", |line| line["msg"] == "ended").await;
    assert_eq!(api.session(&id).await["status"], "TERMINATED");
}

/// An interactive bash takes a SIGHUP that comes right before it waits for input only at the next
/// one, and ignores SIGTERM.
#[actix_web::test]
async fn what_has_missed_the_first_hangup_gets_another_before_it_is_killed() {
    let server = Server::start().await;
    let api = server.api();
    let program = r#"$SIG{TERM} = "IGNORE"; $SIG{HUP} = sub { exit 7 if ++$hangups == 2 };
        $| = 1; print "up"; sleep 1 while 1"#;
    let session = api.create(json!({ "command": ["perl", "-e", program] })).await;
    let id = session["id"].as_str().unwrap();
    let (mut terminal, _) = Terminal::attach(&server, id, "").await;
    terminal.wait_for("up").await;
    let ended = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!((&ended["exit_code"], &ended["exit_signal"]), (&json!(7), &Value::Null));
}

#[actix_web::test]
async fn a_signal_to_the_tree_reaches_every_process() {
    let server = Server::start().await;
    let api = server.api();
    let script = "trap 'echo leader' USR1; \
                  (trap 'echo child; exit' USR1; echo ready; while :; do sleep 0.01; done) & \
                  while :; do wait; done";
    let id = api.run(script).await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("ready").await;
    let body = r#"{"signal":"SIGUSR1","to":"tree"}"#;
    api.post(&format!("/api/v1/sessions/{id}/signal"), body).await.ok(200);
    terminal.wait_for("leader").await;
    terminal.wait_for("child").await;
}

#[actix_web::test]
async fn ctrl_c_comes_through_and_so_does_the_signal_endpoint() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    // What has printed is in the foreground; between two commands of a list, bash itself is.
    terminal.type_in("sh -c 'echo one-$((0+1)); exec sleep 1000'\n").await;
    terminal.wait_for("one-1").await;
    terminal.type_in("\x03").await;
    terminal.type_in("sh -c 'echo two-$((1+1)); exec sleep 1000'\n").await;
    terminal.wait_for("two-2").await;
    api.post(&format!("/api/v1/sessions/{id}/signal"), r#"{"signal":"INT"}"#).await.ok(200);
    terminal.type_in("echo three-$((1+2))\n").await;
    terminal.wait_for("three-3").await;
}

#[actix_web::test]
async fn all_output_comes_before_the_exit() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; seq 1 200000; exit 7").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("\n").await;
    let exit = terminal.control("exit").await;
    assert_eq!((&exit["code"], &exit["reason"]), (&json!(7), &json!("exited")));
    assert!(terminal.text().ends_with("200000\r\n"));
    assert_eq!(terminal.closed().await.0, 1000);
}

#[actix_web::test]
async fn a_command_that_cannot_start_says_at_which_step() {
    let server = Server::start().await;
    let api = server.api();
    let body = json!({ "command": ["/does/not/exist"] }).to_string();
    let problem = api.post("/api/v1/sessions", body).await.problem(422, "spawn_failed");
    assert_eq!((&problem["step"], &problem["errno"]), (&json!("exec"), &json!(2)));
    assert_eq!(problem["session"]["end_reason"], "spawn_failed");

    let body = json!({ "command": ["true"], "cwd": "/does/not/exist" }).to_string();
    let problem = api.post("/api/v1/sessions", body).await.problem(422, "spawn_failed");
    assert_eq!((&problem["step"], &problem["errno"]), (&json!("chdir"), &json!(2)));
    let kept = "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM transitions)";
    assert_eq!(server.sql(kept).as_deref(), Some("0"), "nothing is kept of what was mistyped");
    let body = json!({ "command": ["/etc/passwd"] }).to_string();
    let problem = api.post("/api/v1/sessions", body).await.problem(422, "spawn_failed");
    assert_eq!((&problem["step"], &problem["errno"]), (&json!("exec"), &json!(13)));
    let id = problem["session"]["id"].as_str().unwrap();
    let kept = api.session(id).await;
    assert_eq!((&kept["status"], &kept["end_reason"]), (&json!("ERROR"), &json!("spawn_failed")));
    assert_eq!(server.sql("SELECT status FROM sessions").as_deref(), Some("ERROR"));
}

#[actix_web::test]
async fn what_detached_itself_on_purpose_lives_on_after_an_exit() {
    let mut server = Server::start().await;
    let session = end_of(&mut server, "setsid sleep 4242 & disown; sleep 0.2; exit 0").await;
    assert_eq!(session["status"], "TERMINATED");
    let mark = format!("STAYD_SESSION={}", session["id"].as_str().unwrap());
    let alive: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    assert_eq!(alive.len(), 1);
    let pid = nix::unistd::Pid::from_raw(alive[0]);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[actix_web::test]
async fn output_that_nobody_was_there_to_see_is_kept_for_a_moment() {
    let mut server = Server::start().await;
    let session = end_of(&mut server, "echo quick; exit 3").await;
    let path = format!("/api/v1/sessions/{}/output?offset=0", session["id"].as_str().unwrap());
    let output = server.api().get(&path).await;
    assert_eq!((output.status.as_u16(), &output.bytes[..]), (200, &b"quick\r\n"[..]));
}
