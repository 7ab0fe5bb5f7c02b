//! From the start of a server until `/readyz` says 200, over a holder with so many sessions
//! that were all attached to: each has a transition to be written and a deadline to be set.
//! Beside it, what the holder's memory is.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::Server;

/// Each is restored so often; the median is shown.
const ROUNDS: usize = 7;

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let (sizes, rounds): (&[usize], _) =
        if bench { (&[0, 10, 100, 1000], ROUNDS) } else { (&[0, 10], 1) };
    System::new().block_on(measure(sizes, rounds));
}

async fn measure(sizes: &[usize], rounds: usize) {
    let mut server = Server::start_quiet().await;
    println!("sessions  ready ms: median   least    most    holder KiB: RSS     PSS");
    let mut count = 0;
    for &size in sizes {
        let api = server.api();
        for _ in count..size {
            api.create(json!({ "command": ["sleep", "infinity"] })).await;
        }
        count = size;
        let mut taken = Vec::new();
        for _ in 0..rounds {
            server.kill();
            server.db().execute_batch(ATTACHED).expect("rows");
            let start = Instant::now();
            server.begin_restart();
            until_ready(server.address(), &server.token());
            taken.push(start.elapsed());
            let live = server.api().get("/api/v1/sessions?limit=1000").await.ok(200);
            assert_eq!(live["sessions"].as_array().map(Vec::len), Some(size));
        }
        taken.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (least, most) = (taken[0], taken[taken.len() - 1]);
        let (rss, pss) = memory(server.holder_pid());
        let median = ms(taken[taken.len() / 2]);
        println!("{size:8}  {median:16.1} {:7.1} {:7.1} {rss:18} {pss:7}", ms(least), ms(most));
    }
}

const ATTACHED: &str = "UPDATE sessions SET status = 'ACTIVE', active_connections = 1";

/// Asks until the answer is 200.
fn until_ready(address: &str, token: &str) {
    let ask = || {
        let mut stream = TcpStream::connect(address).ok()?;
        let request = format!(
            "GET /readyz HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    };
    while ask().is_none() {
        // Not there yet; there is nothing to wait on but the port.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Resident and proportional set size, KiB (proc_pid_smaps(5)).
fn memory(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("a field");
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
    };
    (field("Rss:"), field("Pss:"))
}
