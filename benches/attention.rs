//! What it costs to know what agents do: how long after a change it is told, by hooks and by rules, and
//! what agents that wait take. Server, holder, agents and client share the machine's cores.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::Server;

/// How long agents that wait are watched.
const IDLE: Duration = Duration::from_secs(20);
/// Rules for another program than the agent.
const OTHER: &str = "[agent.claude]\nprograms = [\"nobody\"]\n";

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let (changes, idle) = if bench { (20, 200) } else { (1, 2) };
    System::new().block_on(async {
        println!("{}", load());
        println!("told by  changes  p50, ms  p95, ms  most, ms");
        for by in ["hooks", "rules"] {
            told(by, changes).await;
        }
        println!(
            "agents that wait      looks in {} s  server, % of a core  holder",
            IDLE.as_secs()
        );
        let watched = if bench { IDLE } else { Duration::from_millis(100) };
        for (rules, settings) in [("with rules", ""), ("without", OTHER)] {
            waiting(rules, settings, idle, watched).await;
        }
        println!("{}", load());
    });
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").expect("the machine's load");
    format!("load of the machine: {}", load.trim())
}

/// A server, and the directory of an agent's files.
async fn start(settings: &str) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/fake-claude");
    for name in ["claude", "walker"] {
        std::os::unix::fs::symlink(agent, dir.path().join(name)).expect("a link");
    }
    let mut install = Command::new(env!("CARGO_BIN_EXE_stayd"));
    install.args(["integrate", "claude", "--install"]).env("CLAUDE_CONFIG_DIR", dir.path());
    assert!(install.output().expect("stayd runs").status.success());
    (Server::start_by(Server::dir(), settings, "exec \"$0\" \"$@\"").await, dir)
}

async fn agent(server: &Server, dir: &Path, name: &str, config: &Path) -> String {
    let env = json!({ "FAKE_TRUTH": dir.join("truth"), "CLAUDE_CONFIG_DIR": config });
    let body = json!({ "command": [dir.join(name)], "env": env });
    server.api().create(body).await["id"].as_str().expect("an id").to_owned()
}

/// From a prompt that is drawn, or a hook that is run at that moment, to the state of the session.
async fn told(by: &str, changes: usize) {
    let (server, dir) = start("").await;
    let api = server.api();
    let bare = dir.path().join("bare");
    let (name, config) = if by == "hooks" { ("walker", dir.path()) } else { ("claude", &*bare) };
    let id = agent(&server, dir.path(), name, config).await;
    let wait = |state: &str| {
        let api = api.clone();
        let path = format!("/api/v1/sessions/{id}/screen?wait=state:{state}&timeout_ms=20000");
        async move { assert_eq!(api.get(&path).await.status.as_u16(), 200, "{path}") }
    };
    wait("idle").await;
    let mut taken = Vec::new();
    for _ in 0..changes {
        let path = format!("/api/v1/sessions/{id}/input");
        api.post(&path, "ask x 1.2\r").await.ok(200);
        for state in ["working", "blocked", "working", "done"] {
            wait(state).await;
            let since = api.session(&id).await["attention"]["since"].clone();
            let since: DateTime<Utc> =
                since.as_str().and_then(|since| since.parse().ok()).expect("a time");
            if state == "blocked" {
                api.post(&path, "1").await.ok(200);
            }
            if state == "blocked" || state == "done" {
                let log = std::fs::read_to_string(dir.path().join("truth")).expect("the log");
                let mut lines =
                    log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let truth = lines.rfind(|line| line["state"] == state).expect("a line");
                let wall = truth["wall"].as_f64().expect("a time");
                taken.push((since.timestamp_micros() as f64 / 1e6 - wall).max(0.0) * 1e3);
            }
        }
    }
    taken.sort_by(f64::total_cmp);
    let part = |part: usize| taken[taken.len() * part / 100];
    let most = taken.last().expect("one");
    println!("{by:<8} {:>7} {:>8.0} {:>8.0} {most:>9.0}", taken.len(), part(50), part(95));
}

/// What so many agents at their prompts take, nobody attached.
async fn waiting(rules: &str, settings: &str, count: usize, watched: Duration) {
    let (server, dir) = start(settings).await;
    for _ in 0..count {
        agent(&server, dir.path(), "claude", &dir.path().join("bare")).await;
    }
    // Until all of them have drawn their prompts, and nothing is looked at any more.
    let start = Instant::now();
    let (mut before, mut quiet) = (looks(&server).await, Instant::now());
    while quiet.elapsed() < watched.min(Duration::from_secs(3)) {
        assert!(start.elapsed() < Duration::from_secs(120), "they do not come to rest");
        sleep(Duration::from_millis(250)).await;
        let now = looks(&server).await;
        if now != before {
            (before, quiet) = (now, Instant::now());
        }
    }
    let cpu = [server.pid(), server.holder_pid()].map(ticks);
    sleep(watched).await;
    let after = [server.pid(), server.holder_pid()].map(ticks);
    // A tick is 10 ms.
    let part = |which: usize| (after[which] - cpu[which]) as f64 / watched.as_secs_f64();
    let looks = looks(&server).await - before;
    println!("{count:>4} {rules:<16} {looks:>14} {:>20.2} {:>7.2}", part(0), part(1));
}

async fn looks(server: &Server) -> u64 {
    let text = String::from_utf8(server.api().get("/metrics").await.bytes).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("stayd_attention_looks_total "));
    line.and_then(|count| count.parse().ok()).expect("a count")
}

/// Clock ticks that a process has used.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |place: usize| words[place].parse::<u64>().expect("ticks");
    ticks(11) + ticks(12)
}
