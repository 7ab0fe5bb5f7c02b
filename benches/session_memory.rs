//! What idle sessions cost in memory, server and holder together, in KiB of PSS: fresh, and
//! after 256 KiB of output each, when their screens have been folded and left with the holder.
//! The processes on the terminals do not count, nor what the kernel keeps for a terminal.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use serde_json::json;
use std::time::Duration;
use support::{Api, Server};

/// Lines of 64 bytes with their CR: 256 KiB.
const OUTPUT: u64 = 256 << 10;
/// Prints them when it is told to; nothing is left of the shell afterwards.
const SCRIPT: &str = r#"stty -echo; read -r _
    yes 'a line of output, as long as lines of logs and of compilers are' | head -n 4096
    exec sleep infinity"#;
/// After so long without output a screen has been folded, and its checkpoint left.
const FOLDED: Duration = Duration::from_secs(4);

fn main() {
    // As a test it only has to run.
    let count = if std::env::args().any(|arg| arg == "--bench") { 1000 } else { 4 };
    System::new().block_on(measure(count));
}

async fn measure(count: u64) {
    let server = Server::start_quiet().await;
    let api = server.api();
    println!("{count} sessions               server   holder  KiB a session");
    let none = report(&server, "none", (0, 0), 1);
    let mut ids = Vec::new();
    for _ in 0..count {
        let session = api.create(json!({ "command": ["sh", "-c", SCRIPT] })).await;
        ids.push(session["id"].as_str().expect("an id").to_owned());
    }
    sleep(FOLDED).await;
    report(&server, "fresh", none, count);
    for id in &ids {
        api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
    }
    for id in &ids {
        until_printed(&api, id).await;
    }
    sleep(FOLDED).await;
    report(&server, "after 256 KiB each", none, count);
}

async fn until_printed(api: &Api, id: &str) {
    while api.session(id).await["offset"].as_u64().expect("offset") < OUTPUT {
        sleep(Duration::from_millis(20)).await;
    }
}

/// PSS of server and holder, and what each session adds to their sum.
fn report(server: &Server, what: &str, none: (u64, u64), count: u64) -> (u64, u64) {
    let (serves, holds) = (pss(server.pid()), pss(server.holder_pid()));
    let more = (serves + holds).saturating_sub(none.0 + none.1);
    let each = more as f64 / count as f64;
    println!("{what:<20} {serves:>12} {holds:>8} {each:>14.1}");
    (serves, holds)
}

fn pss(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("Pss");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB")
}
