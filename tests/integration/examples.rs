//! The clients in `examples/`, which `docs/protocol.md` explains, against a server that dies
//! under them. They need Python with `websockets`, and Node.js with `npm ci` in `examples`;
//! where these are missing the tests say so and are skipped, unless
//! `STAYD_REQUIRE_EXAMPLES` is set.

use crate::support::{DEADLINE, Server, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Says each line back with its number, and then much that is to arrive whole.
const PROGRAM: &str = r#"
    n=0
    while read -r line; do
        n=$((n + 1)); echo "$n: $line"
        [ "$line" = end ] && exit 7
        for i in {1..4000}; do echo "$n-$i and no byte of it is lost or doubled"; done
        echo "$n is done"
    done"#;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A client that is at hand, as a command; else a word about it.
fn at_hand(command: Option<Vec<String>>, what: &str) -> Option<Vec<String>> {
    if command.is_none() {
        let required = std::env::var_os("STAYD_REQUIRE_EXAMPLES").is_some();
        assert!(!required, "{what} is missing");
        eprintln!("skipped: {what} is missing");
    }
    command
}

fn python() -> Option<Vec<String>> {
    // Where scripts/test puts it, or the system's own.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target");
    let venv = target.join("examples-venv/bin/python").display().to_string();
    let has_it = |python: &String| {
        let import = "import websockets.asyncio.client";
        Command::new(python).args(["-c", import]).output().is_ok_and(|done| done.status.success())
    };
    let python = [venv, "python3".to_owned()].into_iter().find(has_it);
    let client = examples().join("client.py").display().to_string();
    at_hand(python.map(|python| vec![python, client]), "Python's websockets (scripts/test)")
}

fn node() -> Option<Vec<String>> {
    let runs = || Command::new("node").arg("--version").output().is_ok_and(|v| v.status.success());
    let there = examples().join("node_modules/ws").exists() && runs();
    let client = examples().join("client.mjs").display().to_string();
    at_hand(there.then(|| vec!["node".into(), client]), "Node.js with ws (npm ci in examples)")
}

/// One of the clients, running.
struct Example {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Example {
    fn start(command: &[String], server: &Server, session: &str) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .arg(session)
            .env("STAYD_URL", format!("http://{}", server.address()))
            .env("STAYD_TOKEN", server.token())
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (stdin, mut stdout) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let printed = Arc::<Mutex<Vec<u8>>>::default();
        let sink = printed.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                sink.lock().expect("no panic").extend_from_slice(&buffer[..n]);
            }
        });
        Example { child, stdin, printed }
    }

    fn type_in(&mut self, line: &str) {
        self.stdin.as_mut().expect("open").write_all(line.as_bytes()).expect("typed");
    }

    fn printed(&self) -> Vec<u8> {
        self.printed.lock().expect("no panic").clone()
    }

    async fn prints(&self, text: &str) {
        let has = |printed: &[u8]| printed.windows(text.len()).any(|part| part == text.as_bytes());
        soon(text, async {
            while !has(&self.printed()) {
                actix_web::rt::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Its exit code.
    fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("it still runs")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn survives(command: Option<Vec<String>>) {
    let Some(command) = command else { return };
    let mut server = Server::start().await;
    let created = json!({ "name": "example", "command": ["bash", "-c", PROGRAM] });
    let id = server.api().create(created).await["id"].as_str().expect("id").to_owned();
    let mut example = Example::start(&command, &server, "example");

    // Killed while output floods, with something typed while nobody is there to take it.
    example.type_in("one\n");
    example.prints("1-100 ").await;
    server.kill();
    example.type_in("two\n");
    server.restart().await;
    example.prints("2-100 ").await;
    // Killed when something has just been typed: it may have arrived or not.
    example.type_in("three\n");
    server.kill_and_restart().await;
    example.prints("3 is done").await;

    let whole = server.api().get(&format!("/api/v1/sessions/{id}/output")).await;
    assert_eq!(whole.headers.get("x-stayd-offset").expect("offset"), "0", "all is kept");
    let text = String::from_utf8_lossy(&whole.bytes).into_owned();
    for line in ["1: one\r\n", "2: two\r\n", "3: three\r\n", "3-4000 and"] {
        assert_eq!(text.matches(line).count(), 1, "{line:?}");
    }
    let length = whole.bytes.len();
    soon("all that there is", async {
        while example.printed().len() < length {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
    assert!(example.printed() == whole.bytes, "a byte was lost or doubled");

    example.type_in("end\n");
    assert_eq!(example.end(), Some(7));
    let rest = example.printed().split_off(length);
    assert_eq!(String::from_utf8_lossy(&rest), "end\r\n4: end\r\n");
}

#[actix_web::test]
async fn the_python_client_survives_the_server() {
    survives(python()).await;
}

#[actix_web::test]
async fn the_javascript_client_survives_the_server() {
    survives(node()).await;
}

/// The session ends while nobody is there to tell: the code is in its record.
#[actix_web::test]
async fn they_learn_how_a_session_ended_without_them() {
    for command in [python(), node()].into_iter().flatten() {
        let mut server = Server::start().await;
        let created =
            json!({ "name": "example", "command": ["bash", "-c", "echo up; sleep 1000"] });
        let pid = server.api().create(created).await["pid"].as_i64().expect("pid") as i32;
        let mut example = Example::start(&command, &server, "example");
        example.prints("up").await;
        server.kill();
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
        server.restart().await;
        assert_eq!(example.end(), Some(128 + 9));
    }
}

#[actix_web::test]
async fn they_start_a_session_by_profile_and_say_why_not() {
    for command in [python(), node()].into_iter().flatten() {
        let server = Server::start().await;
        let run = |profile: &str, session: &str, typed: &str| {
            let mut child = Command::new(&command[0])
                .args(&command[1..])
                .arg(session)
                .env("STAYD_URL", format!("http://{}", server.address()))
                .env("STAYD_TOKEN", server.token())
                .env("STAYD_PROFILE", profile)
                .env("NO_PROXY", "127.0.0.1")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts");
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(typed.as_bytes()).expect("typed");
            child.wait_with_output().expect("wait")
        };
        let done = run("bash", "new", "echo $((6*7))-answer; exit 5\n");
        assert_eq!(done.status.code(), Some(5));
        assert!(String::from_utf8_lossy(&done.stdout).contains("42-answer"));
        let refused = run("nobody", "other", "");
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("invalid_request"));
    }
}
