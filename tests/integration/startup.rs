//! What a starting server does with each kind of thing that its predecessor left behind.

use crate::support::{Server, Terminal, marked, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;

async fn bash(server: &Server, more: Value) -> String {
    let mut body = json!({ "profile": "bash" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.api().create(body).await["id"].as_str().unwrap().to_owned()
}

/// Attaches and leaves, and waits until the row says so; its `destroy_at`.
async fn idle(server: &Server, id: &str) -> Option<String> {
    let (terminal, _) = Terminal::attach(server, id, "").await;
    terminal.leave().await;
    server.wait_for_sql(&format!("SELECT status FROM sessions WHERE id = '{id}'"), "IDLE").await;
    server.sql(&format!("SELECT destroy_at FROM sessions WHERE id = '{id}'"))
}

fn end_of(session: &Value) -> (&str, &str) {
    (session["status"].as_str().unwrap(), session["end_reason"].as_str().unwrap())
}

/// Each change of status begins where the one before ended, and the row where the last did.
async fn assert_history(server: &Server, id: &str) {
    let api = server.api();
    let mut status = Value::Null;
    for (from, to, _) in api.transitions(id).await {
        assert_eq!(from, status);
        status = json!(to);
    }
    assert_eq!(api.session(id).await["status"], status);
}

/// A script that goes on once the file `go` of the state directory exists.
fn after_go(server: &Server, then: &str) -> String {
    format!("until [ -e {}/go ]; do sleep 0.02; done; {then}", server.state().display())
}

fn go(server: &Server) {
    std::fs::write(server.state().join("go"), "").unwrap();
}

async fn wait_until_gone(pid: i64) {
    soon("the end of a process", async {
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn exits_of_the_time_without_a_server_count() {
    let mut server = Server::start().await;
    let api = server.api();
    let mut sessions = Vec::new();
    let ends = [("exit 0", "TERMINATED"), ("exit 9", "ERROR"), ("kill -USR1 $$", "ERROR")];
    for (end, _) in ends {
        let id = api.run(&after_go(&server, end)).await;
        let pid = api.session(&id).await["pid"].as_i64().unwrap();
        sessions.push((id, pid));
    }
    server.kill();
    go(&server);
    for (_, pid) in &sessions {
        wait_until_gone(*pid).await;
    }
    server.restart().await;
    let mut exits = Vec::new();
    for ((id, _), (_, status)) in sessions.iter().zip(ends) {
        let session = server.api().ended(id).await;
        assert_eq!(session["status"], status, "{session}");
        exits.push((session["exit_code"].clone(), session["exit_signal"].clone()));
        assert_history(&server, id).await;
    }
    let expected = [(json!(0), Value::Null), (json!(9), Value::Null), (Value::Null, json!(10))];
    assert_eq!(exits, expected);
}

#[actix_web::test]
async fn what_is_past_its_deadline_is_destroyed_and_what_is_not_keeps_it() {
    let mut server = Server::start().await;
    let short = bash(&server, json!({ "idle_timeout_s": 1 })).await;
    let long = bash(&server, json!({ "idle_timeout_s": 1000 })).await;
    let never = bash(&server, json!({ "idle_timeout_s": null })).await;
    let first = bash(&server, json!({ "first_attach_timeout_s": 1 })).await;
    let kept = idle(&server, &long).await;
    assert_eq!(idle(&server, &never).await, None);
    let past = idle(&server, &short).await.unwrap();
    server.kill();
    let past = chrono::DateTime::parse_from_rfc3339(&past).unwrap();
    while chrono::Utc::now() < past {
        actix_web::rt::task::yield_now().await;
    }
    server.restart().await;
    assert_eq!(end_of(&server.api().ended(&short).await), ("TERMINATED", "idle_timeout"));
    assert_eq!(end_of(&server.api().ended(&first).await), ("TERMINATED", "first_attach_timeout"));
    assert_eq!(server.api().session(&long).await["destroy_at"].as_str(), kept.as_deref());
    assert_eq!(server.api().session(&never).await["destroy_at"], Value::Null);
    for id in [&short, &first, &long, &never] {
        assert_history(&server, id).await;
    }
}

#[actix_web::test]
async fn a_kill_that_was_begun_is_finished_and_only_those_who_were_there_see_its_end() {
    let mut server = Server::start().await;
    // Only SIGKILL ends it, three seconds after the first signal.
    let id = server.api().run("trap '' HUP TERM; echo up; while :; do sleep 0.1; done").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    let (api, path) = (server.api(), format!("/api/v1/sessions/{id}"));
    let killing = actix_web::rt::spawn(async move { drop(api.delete(&path).await) });
    let ending = format!("SELECT ending_reason FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&ending, "killed").await;
    killing.abort();
    server.kill_and_restart().await;
    assert!(marked(&id) > 0, "it has been ended already");
    let path = format!("/api/v1/sessions/{id}/attach");
    let mut late = Terminal::open(&server.api(), &path, Some("stayd.v1")).await;
    assert_eq!(late.closed().await.0, 4410);
    let path = format!("{path}?session={id}&offset=0");
    let mut late = Terminal::open(&server.api(), &path, Some("stayd.v1")).await;
    assert_eq!(late.control("attached").await["session"]["active_connections"], 0);
    let exit = late.control("exit").await;
    assert_eq!((&exit["signal"], &exit["reason"]), (&json!(9), &json!("killed")));
    assert_eq!(late.closed().await.0, 1000);
    let session = server.api().ended(&id).await;
    assert_eq!(end_of(&session), ("TERMINATED", "killed"));
    assert_eq!(session["exit_signal"], 9);
    assert_eq!(marked(&id), 0);
    assert_history(&server, &id).await;
}

#[actix_web::test]
async fn a_row_that_was_never_started_says_so() {
    let mut server = Server::start().await;
    let id = bash(&server, json!({ "name": "new" })).await;
    server.kill();
    server.kill_holder();
    let unstart = "UPDATE sessions SET pid = NULL, pid_start_time = NULL, boot_id = NULL";
    server.db().execute_batch(unstart).unwrap();
    server.restart().await;
    assert_eq!(end_of(&server.api().ended(&id).await), ("ERROR", "spawn_failed"));
    assert_history(&server, &id).await;
    bash(&server, json!({ "name": "new" })).await;
}

#[actix_web::test]
async fn a_row_that_does_not_know_its_process_yet_is_completed() {
    let mut server = Server::start().await;
    let id = bash(&server, json!({})).await;
    let pid = server.api().session(&id).await["pid"].clone();
    server.kill();
    let unstart = "UPDATE sessions SET pid = NULL, pid_start_time = NULL, boot_id = NULL";
    server.db().execute_batch(unstart).unwrap();
    server.restart().await;
    let session = server.api().session(&id).await;
    assert_eq!((&session["pid"], &session["status"]), (&pid, &json!("RUNNING")));
    idle(&server, &id).await;
    let row = "SELECT pid || ' ' || (pid_start_time > 0) || ' ' || length(boot_id) FROM sessions";
    assert_eq!(server.sql(row), Some(format!("{pid} 1 36")));
}

#[actix_web::test]
async fn a_session_without_a_row_is_adopted_as_the_holder_knows_it() {
    let mut server = Server::start().await;
    let id = bash(&server, json!({ "name": "kept", "labels": { "a": "b" } })).await;
    let fresh = bash(&server, json!({})).await;
    let destroy_at = idle(&server, &id).await.unwrap();
    server.kill();
    server.db().execute_batch("DELETE FROM transitions; DELETE FROM sessions").unwrap();
    server.restart().await;
    let adopted = server.api().session("kept").await;
    assert_eq!(adopted["id"], id);
    assert_eq!(adopted["command"], json!(["bash", "--norc", "--noprofile"]));
    assert_eq!((&adopted["status"], &adopted["labels"]["a"]), (&json!("IDLE"), &json!("b")));
    let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    let moved = instant(adopted["destroy_at"].as_str().unwrap()) - instant(&destroy_at);
    assert!(moved.num_milliseconds().abs() < 1000, "{adopted} {destroy_at}");
    assert_eq!(server.api().session(&fresh).await["status"], "RUNNING");
    for id in [&id, &fresh] {
        let status = format!("SELECT count(*) FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&status, "1").await;
        assert_history(&server, id).await;
    }
}

#[actix_web::test]
async fn an_unreadable_row_harms_no_other() {
    let mut server = Server::start().await;
    let broken = bash(&server, json!({ "name": "broken" })).await;
    let fine = bash(&server, json!({ "name": "fine" })).await;
    let lost = bash(&server, json!({ "name": "lost" })).await;
    let pid = server.api().session(&lost).await["pid"].as_i64().unwrap();
    server.kill();
    let spoil = "UPDATE sessions SET last_activity_at = 'yesterday', labels = '{' WHERE id = ?1";
    server.db().execute(spoil, [&broken]).unwrap();
    // A row that cannot be read, of a session that nobody holds.
    let stray = "INSERT INTO sessions (id, name, profile, command, cwd, status, \
                 active_connections, created_at, updated_at, last_activity_at, cols, rows, \
                 labels, output_offset) SELECT '00000000-0000-7000-8000-000000000000', 'stray', \
                 profile, '?', cwd, status, 0, created_at, updated_at, last_activity_at, cols, \
                 rows, labels, 0 FROM sessions WHERE id = ?1";
    server.db().execute(stray, [&fine]).unwrap();
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    server.restart().await;
    for (id, name) in [(&broken, "broken"), (&fine, "fine")] {
        assert_eq!(server.api().session(name).await["id"], *id);
        let (mut terminal, _) = Terminal::attach(&server, id, "").await;
        terminal.type_in("echo $((6*7))\n").await;
        terminal.wait_for("42").await;
    }
    assert_eq!(end_of(&server.api().ended(&lost).await), ("ERROR", "signaled"));
    let stray = "SELECT status || ' ' || end_reason FROM sessions WHERE name = 'stray'";
    server.wait_for_sql(stray, "ERROR restore_failed").await;
    bash(&server, json!({ "name": "stray" })).await;
}

/// The holder's descriptors of rings.
fn rings(server: &Server) -> HashSet<std::path::PathBuf> {
    let dir = format!("/proc/{}/fd", server.holder_pid());
    let is_ring = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("ring"))
    };
    std::fs::read_dir(dir).unwrap().map(|fd| fd.unwrap().path()).filter(is_ring).collect()
}

#[actix_web::test]
async fn a_session_whose_ring_is_damaged_ends_and_harms_no_other() {
    let mut server = Server::start().await;
    let fine = bash(&server, json!({})).await;
    let before = rings(&server);
    let broken = bash(&server, json!({})).await;
    let ring = rings(&server).difference(&before).next().unwrap().clone();
    server.kill();
    let ring = std::fs::OpenOptions::new().write(true).open(ring).unwrap();
    ring.write_all_at(b"garbage!", 0).unwrap();
    server.restart().await;
    assert_eq!(end_of(&server.api().ended(&broken).await), ("ERROR", "restore_failed"));
    assert_eq!(marked(&broken), 0, "nobody could ever reach it");
    assert_history(&server, &broken).await;
    let (mut terminal, _) = Terminal::attach(&server, &fine, "").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
}

#[actix_web::test]
async fn rows_of_another_boot_are_orphaned_and_strangers_left_alone() {
    let mut server = Server::start().await;
    let id = bash(&server, json!({})).await;
    server.kill();
    server.kill_holder();
    // After a reboot a stranger may have both the pid and the start time of a session.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
    let reboot = "UPDATE sessions SET boot_id = 'another', pid = ?1, pid_start_time = ?2";
    server.db().execute(reboot, [stranger.id().to_string(), start_time]).unwrap();
    server.restart().await;
    assert_eq!(end_of(&server.api().ended(&id).await), ("TERMINATED", "orphaned"));
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[actix_web::test]
async fn clients_that_come_early_wait() {
    let mut server = Server::start().await;
    let id = bash(&server, json!({})).await;
    server.kill();
    let holder = Pid::from_raw(server.holder_pid());
    kill(holder, Signal::SIGSTOP).unwrap();
    server.begin_restart();
    let address = server.address().to_owned();
    soon("the port", async {
        while std::net::TcpStream::connect(&address).is_err() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    // The server can know nothing of the session yet: the holder does not answer.
    let (api, path) = (server.api(), format!("/api/v1/sessions/{id}"));
    let asked = actix_web::rt::spawn(async move { api.get(&path).await });
    actix_web::rt::task::yield_now().await;
    kill(holder, Signal::SIGCONT).unwrap();
    assert_eq!(asked.await.unwrap().ok(200)["id"], id);
}

#[actix_web::test]
async fn output_beyond_the_ring_waits_for_clients_that_come_back() {
    let flags = ["--ring-bytes", "262144"];
    let mut server = Server::start_with(&flags).await;
    let numbers = "echo up; read -r line; seq 1 200000; exit 3";
    let (mine, nobodys) = (server.api().run(numbers).await, server.api().run(numbers).await);
    let mut seen = Vec::new();
    for id in [&nobodys, &mine] {
        let (mut terminal, _) = Terminal::attach(&server, id, "client=me").await;
        terminal.wait_for("up").await;
        terminal.type_in("\n").await;
        terminal.wait_for("\r\n1\r\n").await;
        // Attached until the server is dead: who leaves before holds nothing back.
        seen.push((terminal.offset, terminal.text(), terminal));
    }
    server.kill_and_restart().await;
    // It has acknowledged what it saw.
    let (offset, before, _) = &seen[1];
    let query = format!("client=me&session={mine}&offset={offset}");
    let (mut terminal, attached) = Terminal::attach(&server, &mine, &query).await;
    assert_eq!(attached["offset"], *offset, "nothing that it missed was given up");
    let exit = terminal.control("exit").await;
    assert_eq!(exit["code"], 3);
    let text = format!("{before}{}", terminal.text());
    let numbers = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    assert!(numbers.eq(1..=200_000), "every line once, in order");
    // Whose clients do not come back goes on without them.
    assert_eq!(server.api().ended(&nobodys).await["exit_code"], 3);
}
