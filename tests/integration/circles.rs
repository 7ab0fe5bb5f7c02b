//! A session that shows itself.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{Server, Terminal, soon};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

async fn bash(server: &Server, name: &str) -> String {
    let session = server.api().create(json!({ "name": name, "profile": "bash" })).await;
    session["id"].as_str().expect("an id").to_owned()
}

/// The program with the state directory and the token, as a shell is told: without the token, it
/// would be let in nowhere that it runs inside.
fn command(server: &Server) -> String {
    let (program, state) = (env!("CARGO_BIN_EXE_stayd"), server.state());
    format!("env STAYD_TOKEN={} {program} --state-dir {}", server.token(), state.display())
}

#[actix_web::test]
async fn a_session_does_not_show_itself() {
    let server = Server::start().await;
    let id = bash(&server, "web").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    let command = command(&server);
    for verb in [
        "attach web",
        "attach $STAYD_SESSION",
        "attach --read-only web",
        "run -A --name web -- true",
        "logs -f web",
        "logs -f web | cat",
        "attach web </dev/null",
        // The shell's variables are gone, the mark of its processes is not.
        "attach web # env -i",
    ] {
        terminal.screen.clear();
        let cleared = if verb.ends_with("env -i") { "env -i TERM=xterm HOME=/ " } else { "" };
        let verb = verb.trim_end_matches(" # env -i");
        terminal
            .type_in(&format!(
                "clear; {cleared}{command} {verb}; echo \"<$? ${{PIPESTATUS[0]}}>\"\n"
            ))
            .await;
        // Were it shown, it would print for ever.
        let refused = terminal.wait_for("is the one that this command runs in");
        soon("the refusal", refused).await;
        terminal.wait_for("unset STAYD_SESSION").await;
        terminal.wait_for(if verb.contains('|') { "<0 1>" } else { "<1 1>" }).await;
    }
}

#[actix_web::test]
async fn what_goes_to_a_file_goes_round_in_no_circle() {
    let server = Server::start().await;
    let id = bash(&server, "web").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    let (command, file) = (command(&server), server.state().join("out"));
    let path = file.display();
    terminal.type_in(&format!("{command} logs -f web >{path} 2>&1 & echo star\"\"ted\n")).await;
    terminal.wait_for("started").await;
    terminal.type_in("echo into-$((40+2))\n").await;
    soon("its own output in the file", async {
        while !std::fs::read_to_string(&file).unwrap_or_default().contains("into-42") {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    terminal.type_in("kill %1; wait; echo do\"\"ne\n").await;
    terminal.wait_for("done").await;
}

#[actix_web::test]
async fn a_session_shows_one_of_another_server_or_of_its_own() {
    let (server, other) = (Server::start().await, Server::start().await);
    let id = bash(&server, "web").await;
    bash(&other, "far").await;
    bash(&server, "near").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    for (at, name) in [(&other, "far"), (&server, "near")] {
        terminal.screen.clear();
        terminal.type_in(&format!("clear; {} attach {name}\n", command(at))).await;
        soon("it is attached", async {
            while at.api().session(name).await["active_connections"] != 1 {}
        })
        .await;
        terminal.type_in("echo \"in $STAYD_SESSION-$((40+2))\"\n").await;
        terminal
            .wait_for(&format!(
                "in {}-42",
                at.api().session(name).await["id"].as_str().expect("id")
            ))
            .await;
        terminal.type_in("\x1cd").await;
        terminal.wait_for("detached from").await;
    }
}

/// Passes one connection on at a time, and hands out the first line of each request.
fn relay(listener: TcpListener, to: String) -> std::sync::mpsc::Receiver<String> {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut here in listener.incoming().flatten() {
            let mut there = TcpStream::connect(&to).expect("the server");
            let mut first = vec![0; 4096];
            let n = here.read(&mut first).unwrap_or(0);
            let text = String::from_utf8_lossy(&first[..n]).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            if there.write_all(&first[..n]).is_err() || sender.send(line).is_err() {
                return;
            }
            let (mut up, mut back) =
                (here.try_clone().expect("dup"), there.try_clone().expect("dup"));
            std::thread::spawn(move || std::io::copy(&mut up, &mut there));
            std::thread::spawn(move || std::io::copy(&mut back, &mut here));
        }
    });
    lines
}

#[actix_web::test]
async fn the_server_is_told_which_session_shows_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    let server = Server::start_with(&["--allowed-host", &at]).await;
    let id = server.api().run("echo up; exit 3").await;
    server.wait_for_sql(&format!("SELECT status FROM sessions WHERE id = '{id}'"), "ERROR").await;
    let live = bash(&server, "web").await;
    let lines = relay(listener, server.address().to_owned());
    let inside = uuid::Uuid::now_v7().to_string();
    for (from, told) in [(Some(inside.as_str()), true), (Some("no uuid"), false), (None, false)] {
        for (args, to_file) in [
            (["attach", "web"].as_slice(), false),
            (&["attach", "-r", "web"], false),
            (&["logs", "-f", "web"], false),
            (&["logs", "-f", "web"], true),
        ] {
            let mut command = stayd(&server, args);
            command.env("STAYD_URL", format!("http://{at}")).env_remove("STAYD_SESSION");
            command.env("STAYD_TOKEN", server.token());
            command.envs(from.map(|from| ("STAYD_SESSION", from))).stdin(Stdio::piped());
            command.stdout(if to_file { Stdio::null() } else { Stdio::piped() });
            let mut child = command.spawn().expect("stayd runs");
            let attach = format!("/api/v1/sessions/{live}/attach?");
            let line = loop {
                let line = lines.recv_timeout(crate::support::DEADLINE).expect("a request");
                if line.contains(&attach) {
                    break line;
                }
            };
            child.kill().expect("it runs");
            child.wait().expect("wait");
            let told = told && !to_file;
            assert_eq!(line.contains(&format!("from={inside}")), told, "{from:?} {args:?}: {line}");
            assert_eq!(line.contains("from="), told, "{from:?} {args:?}: {line}");
        }
    }
}

/// A refusal comes as a close code with a reason, whatever it is for.
#[actix_web::test]
async fn why_the_server_closes_is_told() {
    let mut server = Server::start().await;
    bash(&server, "web").await;
    let (code, token) = code_and_text(&verb(&server, &["token", "add", "guest"]));
    assert_eq!(code, Some(0));
    let watch = |args: &[&str]| {
        let mut command = stayd(&server, args);
        command.env("STAYD_TOKEN", token.trim()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("stayd runs")
    };
    let children = [watch(&["attach", "web"]), watch(&["logs", "-f", "web"])];
    for _ in 0..2 {
        // Also the client knows.
        let is_there = |line: &serde_json::Value| line["status"] == 101;
        server.wait_for_log("an attachment's answer", is_there).await;
    }
    assert_eq!(verb(&server, &["token", "rm", "guest"]).status.code(), Some(0));
    for child in children {
        let (code, text) = code_and_text(&child.wait_with_output().expect("it ends"));
        assert!(
            code == Some(1) && text.contains("the token is no longer valid"),
            "{code:?} {text}"
        );
    }
}
