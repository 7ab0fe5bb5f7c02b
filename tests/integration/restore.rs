//! A server over a living holder.

use crate::support::{Server, Terminal, marked, soon};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_killed_server_loses_nothing() {
    let mut server = Server::start().await;
    let api = server.api();
    let script = "i=0; while read -r line; do i=$((i+1)); echo \"$i:$line:$$\"; done";
    let id = api.run(script).await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "client=me").await;
    terminal.type_in("one\n").await;
    terminal.wait_for("1:one:").await;
    let (before, holder) = (api.session(&id).await, server.holder_pid());
    let offset = terminal.offset;
    server.kill_and_restart().await;
    assert_eq!(server.holder_pid(), holder);
    let after = server.api().session(&id).await;
    assert_eq!(after["pid"], before["pid"]);
    assert_eq!(after["status"], "IDLE", "its clients will be back");
    let query = format!("client=me&session={id}&offset={offset}");
    let (mut terminal, attached) = Terminal::attach(&server, &id, &query).await;
    assert_eq!((&attached["offset"], &attached["input"]), (&json!(offset), &json!(4)));
    terminal.type_in("two\n").await;
    terminal.wait_for(&format!("2:two:{}", before["pid"])).await;
    assert!(!terminal.text().contains("1:one"), "nothing twice");
}

#[actix_web::test]
async fn output_and_exit_of_the_time_without_a_server_are_kept() {
    let mut server = Server::start().await;
    let api = server.api();
    // Neither goes on before the server is gone, however slow the machine.
    let wait = format!("while kill -0 {} 2>&-; do sleep 0.01; done", server.pid());
    let id = api.run(&format!("echo up; read -r line; {wait}; seq 1 50000; exit 5")).await;
    let other = api.run(&format!("echo up; read -r line; {wait}; seq 1 50000; sleep 1000")).await;
    let mut offsets = Vec::new();
    for id in [&id, &other] {
        let (mut terminal, _) = Terminal::attach(&server, id, "client=me").await;
        terminal.wait_for("up").await;
        offsets.push(terminal.offset);
        terminal.type_in("go\n").await;
        terminal.wait_for("go\r\n").await;
    }
    server.kill();
    server.restart().await;
    let mine = |line: &Value| line["session"] == id && line["msg"] == "ended";
    server.wait_for_log("end", mine).await;
    let ended = server.api().session(&id).await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("ERROR"), &json!(5)));
    let query = format!("client=me&session={other}&offset={}", offsets[1]);
    let (mut terminal, attached) = Terminal::attach(&server, &other, &query).await;
    assert_eq!(attached["offset"], offsets[1]);
    terminal.wait_for("50000\r\n").await;
    let text = terminal.text();
    let numbers = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    assert!(numbers.eq(1..=50000), "every line once, in order");
}

#[actix_web::test]
async fn a_stopped_server_sends_its_clients_away_and_leaves_the_sessions() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let pid = api.session(&id).await["pid"].clone();
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("x=kept\n").await;
    terminal.wait_for("kept").await;
    let closed = async {
        let (code, reason) = terminal.closed().await;
        assert_eq!(code, 1001);
        assert!(reason.contains("reconnect"), "{reason}");
    };
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(server.pid()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    closed.await;
    assert!(server.stop_waiting().success());
    let row = "SELECT status || active_connections FROM sessions";
    assert_eq!(server.sql(row).as_deref(), Some("IDLE0"));
    server.restart().await;
    let api = server.api();
    assert_eq!(api.session(&id).await["pid"], pid);
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("echo \"<$x>\"\n").await;
    terminal.wait_for("<kept>").await;
}

#[actix_web::test]
async fn deadlines_keep_their_instant_and_are_kept() {
    let mut server = Server::start().await;
    let api = server.api();
    let session = api.create(json!({ "profile": "bash", "idle_timeout_s": 2 })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let long = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    for id in [&id, &long] {
        let (terminal, _) = Terminal::attach(&server, id, "").await;
        terminal.leave().await;
        let mine = |line: &Value| line["session"] == **id && line["to"] == "IDLE";
        server.wait_for_log("idle", mine).await;
    }
    let before = api.session(&long).await["destroy_at"].clone();
    let written = format!("SELECT destroy_at FROM sessions WHERE id = '{long}'");
    server.wait_for_sql(&written, before.as_str().unwrap()).await;
    server.kill_and_restart().await;
    assert_eq!(server.api().session(&long).await["destroy_at"], before);
    let mine = |line: &Value| line["session"] == id && line["to"] == "TERMINATED";
    let end = server.wait_for_log("end", mine).await;
    assert_eq!(end["reason"], "idle_timeout");
}

#[actix_web::test]
async fn sessions_that_a_dead_holder_took_along_are_orphaned() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = api.run("trap '' HUP; echo up; setsid sleep 4343 & sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    // The second starts after what was printed.
    soon("the sleeps", async {
        while marked(&id) < 2 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    server.kill();
    server.kill_holder();
    server.restart().await;
    let mine = |line: &Value| line["session"] == id && line["to"] == "TERMINATED";
    let end = server.wait_for_log("orphaned", mine).await;
    assert_eq!(end["reason"], "orphaned");
    assert_eq!(marked(&id), 0, "what the holder's death left running is ended");
    assert_eq!(server.api().session(&id).await["status"], "TERMINATED");
}

#[actix_web::test]
async fn a_server_whose_holder_dies_ends_and_says_so() {
    let mut server = Server::start().await;
    let id = server.api().run("sleep 1000").await;
    server.kill_holder();
    let stopping = server.wait_for_log("stopping", |line| line["msg"] == "stopping").await;
    assert!(stopping["because"].as_str().unwrap().contains("holder"), "{stopping}");
    assert_eq!(server.stop_waiting().code(), Some(1));
    server.restart().await;
    let mine = |line: &Value| line["session"] == id && line["to"] == "TERMINATED";
    assert_eq!(server.wait_for_log("orphaned", mine).await["reason"], "orphaned");
}

/// Rows and columns of a process's terminal.
fn terminal_size(pid: &Value) -> String {
    let terminal = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    let stty = std::process::Command::new("stty").arg("size").arg("-F").arg(terminal).output();
    String::from_utf8(stty.unwrap().stdout).unwrap().trim().to_owned()
}

/// A server may be killed between a resize and its row; here the row is set back by hand.
#[actix_web::test]
async fn a_size_that_the_row_does_not_know_is_kept_and_can_be_changed() {
    let mut server = Server::start().await;
    let id = server.api().run("exec sleep 1000").await;
    let resize = format!("/api/v1/sessions/{id}/resize");
    for by_client in [false, true] {
        server.api().post(&resize, r#"{"cols":99,"rows":33}"#).await.ok(200);
        server.kill();
        let set_back = "UPDATE sessions SET cols = 80, rows = 24 WHERE id = ?1";
        assert_eq!(server.db().execute(set_back, [&id]), Ok(1));
        server.restart().await;
        let session = server.api().session(&id).await;
        assert_eq!(terminal_size(&session["pid"]), "33 99");
        assert_eq!((&session["cols"], &session["rows"]), (&json!(99), &json!(33)));
        let row = format!("SELECT cols || 'x' || rows FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, "99x33").await;
        let (viewer, attached) = Terminal::attach(&server, &id, "mode=ro").await;
        assert_eq!((&attached["cols"], &attached["session"]["cols"]), (&json!(99), &json!(99)));
        viewer.leave().await;
        // The size that the row had is no reason to drop a request for it.
        if by_client {
            let (_client, _) = Terminal::attach(&server, &id, "cols=80&rows=24").await;
            soon("the client's size", async {
                while terminal_size(&session["pid"]) != "24 80" {
                    actix_web::rt::task::yield_now().await;
                }
            })
            .await;
        } else {
            server.api().post(&resize, r#"{"cols":80,"rows":24}"#).await.ok(200);
            assert_eq!(terminal_size(&session["pid"]), "24 80");
        }
        assert_eq!(server.api().session(&id).await["cols"], 80);
    }
}

#[actix_web::test]
async fn a_second_server_on_the_same_state_is_refused() {
    let server = Server::start().await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(server.state())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(stderr.contains(&format!("process {}", server.pid())), "{stderr}");
}

#[actix_web::test]
async fn stop_all_ends_every_session_and_says_so_in_its_row() {
    let mut server = Server::start().await;
    let api = server.api();
    let quiet = api.create(json!({ "profile": "bash" })).await["id"].clone();
    // One whose tree does not want to end, with a client.
    let stubborn = api.run("trap '' HUP TERM; echo up; while :; do sleep 0.1; done").await;
    let (mut terminal, _) = Terminal::attach(&server, &stubborn, "").await;
    terminal.wait_for("up").await;
    let holder = server.holder_pid();
    let stop = std::process::Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["stop", "--all", "--state-dir"])
        .arg(server.state())
        .spawn();
    assert_eq!(terminal.control("exit").await["reason"], "killed");
    assert_eq!(terminal.closed().await.0, 1000);
    assert!(stop.unwrap().wait().unwrap().success());
    assert!(server.stop_waiting().success());
    // Where nobody reaps it, it stays as a zombie.
    let stat = std::fs::read_to_string(format!("/proc/{holder}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    for id in [quiet.as_str().unwrap(), &stubborn] {
        let row = format!("SELECT status || ' ' || end_reason FROM sessions WHERE id = '{id}'");
        assert_eq!(server.sql(&row).as_deref(), Some("TERMINATED killed"));
        let last = format!(
            "SELECT reason FROM transitions WHERE session_id = '{id}' ORDER BY seq DESC LIMIT 1"
        );
        assert_eq!(server.sql(&last).as_deref(), Some("killed"));
        assert_eq!(marked(id), 0);
    }
    assert!(!server.state().join("listen").exists(), "nobody listens");
}

#[actix_web::test]
async fn a_signal_that_was_asked_for_is_remembered_over_a_restart() {
    let mut server = Server::start().await;
    let trap = |then: &str| format!("trap {then} TERM; echo up; while :; do sleep 0.02; done");
    let script = |signal: &str| {
        let go = server.state().join("go");
        let wait = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
        trap(&format!("'{wait}; trap - {signal}; kill -{signal} $$'"))
    };
    let (asked, other) = (script("TERM"), script("SEGV"));
    let mut sessions = Vec::new();
    for script in [asked, other] {
        let id = server.api().run(&script).await;
        let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
        terminal.wait_for("up").await;
        let path = format!("/api/v1/sessions/{id}/signal");
        server.api().post(&path, r#"{"signal":"TERM","to":"tree"}"#).await.ok(200);
        sessions.push(id);
    }
    server.kill_and_restart().await;
    std::fs::write(server.state().join("go"), "").unwrap();
    for (id, status) in sessions.iter().zip(["TERMINATED", "ERROR"]) {
        let row = format!("SELECT status || ' ' || end_reason FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, &format!("{status} signaled")).await;
    }
}
