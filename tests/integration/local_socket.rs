//! The unix socket: its owner's processes need no token, those inside sessions and other users get
//! nothing.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{DEADLINE, Server, descriptors, soon};
use actix_web::rt::task::yield_now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::json;
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The whole answer to a request over the socket; `more` are header lines.
pub(crate) fn ask(server: &Server, method: &str, path: &str, more: &str) -> String {
    let socket = server.state().join("server.sock");
    let mut stream = UnixStream::connect(socket).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[actix_web::test]
async fn the_owner_needs_no_token() {
    let mut server = Server::start().await;
    let socket = server.state().join("server.sock");
    assert_eq!(socket.metadata().expect("the socket").mode() & 0o777, 0o600);
    server.api().create(json!({ "name": "web", "profile": "bash" })).await;
    let answer = ask(&server, "GET", "/api/v1/sessions", "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"web\""), "{answer}");
    // No page asks here, whatever it says that it is.
    for origin in ["http://x", "http://localhost", "null"] {
        let answer = ask(&server, "GET", "/api/v1/sessions", &format!("Origin: {origin}\r\n"));
        assert!(answer.contains("forbidden_origin"), "{answer}");
    }
    // A token that is shown counts.
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let answer = ask(&server, "GET", "/api/v1/sessions", &bearer("wrong-wrong-wrong-wrong"));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = ask(&server, "GET", "/api/v1/sessions", &bearer(&server.token()));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // So do the verbs.
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0));
    assert_eq!(verb(&server, &["ls", "--token", "wrong-wrong-wrong-wrong"]).status.code(), Some(1));
    // What a killed server leaves is replaced, and an ordered stop leaves nothing.
    server.kill_and_restart().await;
    assert_eq!(verb(&server, &["info", "web"]).status.code(), Some(0));
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("SIGTERM");
    assert!(server.stop_waiting().success());
    assert!(!socket.exists());
}

#[actix_web::test]
async fn a_path_longer_than_an_address_works() {
    let dir = tempfile::Builder::new().prefix(&"d".repeat(180)).tempdir().expect("a directory");
    let server = Server::start_in(dir, Vec::new()).await;
    assert_eq!(verb(&server, &["run", "-d", "--name", "far", "--", "cat"]).status.code(), Some(0));
    assert!(code_and_text(&verb(&server, &["ls"])).1.contains("far"));
}

/// Runs `sh`'s `script` in a session, and returns what `$OUT` then holds.
async fn in_a_session(server: &Server, script: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let (out, ready) = (dir.path().join("out"), dir.path().join("ready"));
    let program = env!("CARGO_BIN_EXE_stayd");
    let state = server.state();
    let ask = format!("{program} --state-dir {} ls", state.display());
    // Whole once it is there.
    let ask = format!(
        "{{ {ask}; echo code=$?; }} >{out}.part 2>&1; mv {out}.part {out}",
        out = out.display()
    );
    let file = dir.path().join("ask");
    std::fs::write(&file, format!("#!/bin/bash\nexport PATH=/usr/bin:/bin\n{ask}\n"))
        .expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("executable");
    let script = script.replace("$ASK", file.to_str().expect("a path"));
    let script = script.replace("$READY", ready.to_str().expect("a path"));
    let command = json!(["bash", "-c", format!("{script}; sleep 100")]);
    let made = server.api().create(json!({ "command": command })).await;
    soon(&script, async {
        while !out.exists() {
            yield_now().await;
        }
    })
    .await;
    let text = std::fs::read_to_string(&out).expect("what it printed");
    let id = made["id"].as_str().expect("an id");
    let path = format!("/api/v1/sessions/{id}");
    server.api().send(awc::http::Method::DELETE, &path, "").await.ok(200);
    text
}

#[actix_web::test]
async fn what_runs_inside_a_session_gets_nothing() {
    let server = Server::start().await;
    for script in [
        "$ASK",
        "env -i $ASK",
        // Forked away from its parents, which have ended by the time that it asks.
        "(env -i setsid bash -c 'while [ ! -e $READY ]; do sleep 0.02; done; exec $ASK' &) ; touch $READY",
        "setsid -f env -i setsid -f bash -c 'sleep 0.3; exec $ASK'",
        // Without the limit as well.
        "ulimit -S -R unlimited; setsid -f env -i bash -c 'sleep 0.3; exec $ASK'",
        // A name of a session that is none, and that of none.
        "STAYD_SESSION=0190a0a0-0000-7000-8000-000000000000 $ASK",
    ] {
        let text = in_a_session(&server, script).await;
        assert!(text.contains("inside") && text.contains("code=1"), "{script}: {text}");
    }
    // The same program outside.
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0));
}

#[actix_web::test]
async fn a_mark_tells_what_was_started_outside_in_a_sessions_name() {
    let server = Server::start().await;
    let session = server.api().create(json!({ "command": ["cat"] })).await;
    let id = session["id"].as_str().expect("an id");
    let ls = |mark: &str| {
        let output = stayd(&server, &["ls"]).env("STAYD_SESSION", mark).output();
        code_and_text(&output.expect("stayd runs"))
    };
    let (code, text) = ls(id);
    assert!(code == Some(1) && text.contains(id) && text.contains("inside"), "{text}");
    // Another server's session is a place like any other.
    assert_eq!(ls("0190a0a0-0000-7000-8000-000000000000").0, Some(0));
}

#[actix_web::test]
async fn connections_that_want_nothing_shut_nobody_out() {
    let server = Server::start_with(&["--max-connections-without-token=16"]).await;
    let socket = server.state().join("server.sock");
    let idle: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(&socket).expect("a connection")).collect();
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0));
    let places = descriptors(server.pid());
    assert!(places < 150, "{places} descriptors");
    drop(idle);
}

/// A connection that is made by a thread of another user.
#[allow(unsafe_code)]
fn as_nobody(socket: &Path) -> io::Result<Vec<u8>> {
    let socket = socket.to_owned();
    let thread = std::thread::spawn(move || {
        let nobody: libc::c_long = 65534;
        // SAFETY: it changes the ids of this thread alone, which ends soon. (The function of the
        // same name in libc would change those of all threads.)
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
        assert_eq!(changed, 0, "another user");
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(b"GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(answer),
        }
    });
    thread.join().expect("the thread")
}

#[actix_web::test]
async fn another_user_gets_nothing_even_if_the_directory_is_open() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    let mut server = Server::start().await;
    let socket = server.state().join("server.sock");
    let refused = as_nobody(&socket).expect_err("the directory is closed");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    };
    mode(server.state().parent().expect("its parent"), 0o711);
    mode(&server.state(), 0o711);
    mode(&socket, 0o666);
    match as_nobody(&socket) {
        Ok(answer) => assert!(answer.is_empty(), "{}", answer.escape_ascii()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}"),
    }
    let line = server.wait_for_log("another user", |line| line["reason"] == "user").await;
    assert_eq!(line["address"], "uid 65534");
}

#[actix_web::test]
async fn nobody_looks_into_the_server_and_the_holder_is_as_it_was() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can start it as somebody else");
        return;
    }
    let dir = Server::dir();
    std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).expect("chown");
    let state = dir.path().join("state");
    let mut child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_stayd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(&state)
        .env("HOME", dir.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("stayd starts");
    let start = Instant::now();
    let metrics = loop {
        assert!(start.elapsed() < DEADLINE, "it never listens");
        let Ok(mut stream) = UnixStream::connect(state.join("server.sock")) else {
            yield_now().await;
            continue;
        };
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        // Root may ask as well.
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        if stream.write_all(request).is_ok() && stream.read_to_string(&mut answer).is_ok() {
            break answer;
        }
    };
    let holder = std::fs::read_to_string(state.join("holder.pid")).expect("holder.pid");
    let holder: i32 = holder.trim().parse().expect("a pid");
    let owner =
        |pid: i32| std::fs::metadata(format!("/proc/{pid}/environ")).expect("the process").uid();
    let owners = (owner(child.id() as i32), owner(holder));
    let mut doctor = Command::new("setpriv");
    doctor.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    doctor.arg(env!("CARGO_BIN_EXE_stayd")).args(["doctor", "--state-dir"]).arg(&state);
    let doctor = code_and_text(&doctor.env("HOME", dir.path()).output().expect("stayd runs")).1;
    for pid in [child.id() as i32, holder] {
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("SIGTERM");
    }
    child.wait().expect("it ends");
    assert_eq!(owners, (0, 65534), "the server's is root's, since it is not dumpable");
    for process in ["server", "holder"] {
        let line = format!("process_open_fds{{process=\"{process}\"}}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert!(doctor.contains(&format!("process {holder}")), "{doctor}");
    assert!(doctor.contains("ready at"), "{doctor}");
}
