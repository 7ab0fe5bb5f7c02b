//! What things cost as there are more of them: memory, attaching, listing and restoring at 10
//! to 4,000 sessions, and output to 1 to 500 clients of one session.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Api, Server, Terminal};

/// Times that what takes long enough to be measured one by one is repeated.
const TIMES: usize = 21;
/// Until screens have been folded.
const SETTLED: Duration = Duration::from_secs(4);
/// Bytes that all clients of one session get.
const OUTPUT: usize = 1 << 20;

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let (sessions, clients): (&[usize], &[usize]) =
        if bench { (&[10, 100, 1000, 3000], &[1, 10, 100, 500]) } else { (&[2, 4], &[1, 2]) };
    System::new().block_on(async {
        by_sessions(sessions).await;
        by_clients(clients).await;
    });
}

async fn by_sessions(counts: &[usize]) {
    println!(
        "sessions  KiB each  create, ms  attach, ms  get, ms  list 100, ms  metrics, ms  \
         listens again, ms"
    );
    let mut server = Server::start_quiet().await;
    let none = pss(server.pid()) + pss(server.holder_pid());
    let mut ids = Vec::new();
    for &count in counts {
        let api = server.api();
        let start = Instant::now();
        let more = count - ids.len();
        while ids.len() < count {
            let session = api.create(json!({ "command": ["sleep", "infinity"] })).await;
            ids.push(session["id"].as_str().expect("an id").to_owned());
        }
        let create = start.elapsed().as_secs_f64() * 1e3 / more as f64;
        sleep(SETTLED).await;
        let all = pss(server.pid()) + pss(server.holder_pid());
        let each = all.saturating_sub(none) as f64 / count as f64;
        let mut attach = Vec::new();
        let mut get = Vec::new();
        let mut list = Vec::new();
        let mut metrics = Vec::new();
        for time in 0..TIMES {
            let id = &ids[time * ids.len() / TIMES];
            let start = Instant::now();
            let path = format!("/api/v1/sessions/{id}/attach");
            let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
            terminal.control("attached").await;
            attach.push(start.elapsed());
            terminal.leave().await;
            get.push(timed(&api, &format!("/api/v1/sessions/{id}")).await);
            list.push(timed(&api, "/api/v1/sessions?limit=100").await);
            metrics.push(timed(&api, "/metrics").await);
        }
        server.kill();
        let start = Instant::now();
        server.restart().await;
        let restart = start.elapsed().as_secs_f64() * 1e3;
        println!(
            "{count:>8} {each:>9.1} {create:>11.2} {:>11.2} {:>8.2} {:>13.2} {:>12.2} {restart:>18.0}",
            median(attach),
            median(get),
            median(list),
            median(metrics)
        );
    }
}

async fn timed(api: &Api, path: &str) -> Duration {
    let start = Instant::now();
    assert_eq!(api.get(path).await.status.as_u16(), 200, "{path}");
    start.elapsed()
}

/// In milliseconds.
fn median(mut taken: Vec<Duration>) -> f64 {
    taken.sort();
    taken[taken.len() / 2].as_secs_f64() * 1e3
}

async fn by_clients(counts: &[usize]) {
    println!("clients  MiB/s in all  until the last has it, ms");
    let server = Server::start_quiet().await;
    let api = server.api();
    for &count in counts {
        let script =
            format!("stty raw -echo; read -r _; head -c {OUTPUT} /dev/zero | tr '\\0' x; exec cat");
        let id = api.run(&script).await;
        let path = format!("/api/v1/sessions/{id}/attach");
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
            terminal.control("attached").await;
            clients.push(terminal);
        }
        let start = Instant::now();
        clients[0].type_in(b"\n").await;
        join_all(clients.iter_mut().map(|client| client.read_to(OUTPUT as u64))).await;
        let taken = start.elapsed().as_secs_f64();
        let speed = (count * OUTPUT) as f64 / taken / f64::from(1 << 20);
        println!("{count:>7} {speed:>13.1} {:>26.1}", taken * 1e3);
    }
}

fn pss(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("Pss");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB")
}
