//! The official Python client, unmodified (`tests/mcp/agent.py`), over HTTP and over `stayd mcp`, against a
//! server that dies under it. It needs the package `mcp`; where that is missing the tests say so and are
//! skipped, unless `STAYD_REQUIRE_EXAMPLES` is set.

use super::{lines, recorder};
use crate::support::{Server, soon};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Where scripts/test puts it, or the system's own.
fn python() -> Option<String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target");
    let venv = target.join("mcp-venv/bin/python").display().to_string();
    let has_it = |python: &String| {
        let import = "import mcp.client.client";
        Command::new(python).args(["-c", import]).output().is_ok_and(|done| done.status.success())
    };
    let python = [venv, "python3".to_owned()].into_iter().find(has_it);
    if python.is_none() {
        let required = std::env::var_os("STAYD_REQUIRE_EXAMPLES").is_some();
        assert!(!required, "Python's mcp is missing (scripts/test)");
        eprintln!("skipped: Python's mcp is missing (scripts/test)");
    }
    python
}

struct Agent {
    child: Child,
    said: UnboundedReceiver<String>,
}

impl Agent {
    fn start(python: &str, server: &Server, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/agent.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .env("STAYD_TOKEN", server.token())
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, said) = unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Agent { child, said }
    }

    /// The next thing that it says; `None`: it has ended.
    async fn says(&mut self) -> Option<String> {
        soon("what the agent says", self.said.recv()).await
    }

    /// What it says last, once it has ended well.
    fn ended(mut self, last: &str) -> Value {
        let status = self.child.wait().expect("wait");
        assert!(status.success(), "{status}: {last}");
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn every_tool(era: &str, version: &str) {
    let Some(python) = python() else { return };
    let server = Server::start().await;
    let url = format!("http://{}/mcp", server.address());
    let mut agent = Agent::start(&python, &server, &["tools", &url, era]);
    let last = agent.says().await.unwrap_or_default();
    let told = agent.ended(&last);
    assert_eq!((told["tools"].as_array().unwrap().len(), &told["version"]), (7, &version.into()));
    assert_eq!(told["told"].as_object().unwrap().len(), 7);
    assert_eq!(told["told"]["session_send"]["screen"], "hello\nhello");
    assert_eq!(told["told"]["command_run"]["output"], "out\nerr\n");
}

#[actix_web::test]
async fn the_python_client_uses_every_tool() {
    every_tool("auto", "2026-07-28").await;
}

#[actix_web::test]
async fn the_python_client_uses_every_tool_after_a_handshake() {
    every_tool("legacy", "2025-11-25").await;
}

/// Kills and restarts the server again and again while an agent types. Returns what became of its lines,
/// the file of those that the program got, and how often it was killed.
async fn under_kills(arguments: &[&str], era: &str, over_stdio: bool) -> Option<Value> {
    const LINES: usize = 24;
    let python = python()?;
    let mut server = Server::start().await;
    let (session, file) = recorder(&server).await;
    let (url, count) = (format!("http://{}/mcp", server.address()), LINES.to_string());
    let state = server.state().display().to_string();
    let mut all = arguments.to_vec();
    match over_stdio {
        true => all.extend([env!("CARGO_BIN_EXE_stayd"), &state]),
        false => all.push(&url),
    }
    all.extend([&session, &count, era]);
    let mut agent = Agent::start(&python, &server, &all);
    let (mut last, mut kills) = (String::new(), 0);
    while let Some(said) = agent.says().await {
        let sent: Option<usize> = said.strip_prefix("sent ").and_then(|n| n.parse().ok());
        // The next call is on its way by now.
        if sent.is_some_and(|sent| sent % 3 == 1) {
            server.kill_and_restart().await;
            kills += 1;
        }
        last = said;
    }
    let told = agent.ended(&last);
    eprintln!("{kills} kills: {told}");
    assert!(kills > 4, "{kills} kills");
    // In order, each once; those without a key that were not answered at most once.
    let typed = lines(&file);
    let expected = (0..LINES).map(|number| format!("line {number}"));
    let is_unknown = |line: &str| told["outcomes"][&line["line ".len()..]] == "unknown";
    let expected: Vec<_> =
        expected.filter(|line| !is_unknown(line) || typed.contains(line)).collect();
    assert_eq!(typed, expected, "{told}");
    for (number, outcome) in told["outcomes"].as_object().unwrap() {
        assert!(outcome == "answered" || outcome == "unknown", "{number}: {outcome}");
    }
    Some(told)
}

#[actix_web::test]
async fn what_the_python_client_sends_while_the_server_is_killed_is_typed_once() {
    under_kills(&["http"], "auto", false).await;
}

#[actix_web::test]
async fn after_a_handshake_as_well() {
    under_kills(&["http"], "legacy", false).await;
}

/// The bridge waits for the server and gives every call a key: its client notices nothing.
#[actix_web::test]
async fn over_stdio_a_killed_server_is_not_noticed() {
    for era in ["auto", "legacy"] {
        let Some(told) = under_kills(&["stdio"], era, true).await else { return };
        assert_eq!((&told["clients"], &told["failures"]), (&1.into(), &Value::Array(vec![])));
        assert!(told["outcomes"].as_object().unwrap().values().all(|it| it == "answered"));
    }
}
