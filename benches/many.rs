//! Many sessions at once: how evenly floods share the machine, what an interactive session's
//! echo takes beside them, what of it is the database's, how long a program waits for the
//! answer to a question, and what a thousand idle sessions take. Server, holder, programs and client share the machine's cores.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use support::{Api, Event, Server, Terminal};

/// Prints lines like those of a log, without pause.
const FLOOD: [&str; 2] = ["yes", "2026-01-01T00:00:00 \x1b[32mINFO\x1b[0m  a line as long as most"];
/// Keystrokes, and the time between two of them.
const KEYS: usize = 500;
const BETWEEN: Duration = Duration::from_millis(5);
/// How long idle sessions are watched, and left alone before.
const IDLE: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(5);

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let (floods, idle): (&[usize], _) = if bench { (&[0, 8, 50, 500], 1000) } else { (&[2], 4) };
    System::new().block_on(async {
        println!("floods  create, ms  MiB/s in all  slowest/fastest  echo p50, ms  p99, ms  store, % of CPU");
        for &count in floods {
            beside(count).await;
        }
        println!("questions, each after      p50, ms  p99, ms");
        for (pause, text) in [("0", "the last answer"), ("rand(0.05)", "up to 50 ms"), ("0.4", "400 ms")] {
            questions(pause, text, if bench { 300 } else { 3 }).await;
        }
        persistence(if bench { 6 } else { 1 }, if bench { 256 << 20 } else { 1 << 20 }).await;
        rest(idle).await;
    });
}

/// Echo of one session beside so many that print.
async fn beside(count: usize) {
    let server = Server::start_quiet().await;
    let api = server.api();
    let session = api.run("stty raw -echo; printf ready; exec cat").await;
    let start = Instant::now();
    for _ in 0..count {
        api.create(json!({ "command": FLOOD })).await;
    }
    let created = start.elapsed().as_secs_f64() * 1e3 / count.max(1) as f64;
    let path = format!("/api/v1/sessions/{session}/attach");
    let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
    terminal.wait_for("ready").await;
    let (before, cpu, start) = (offsets(&api).await, Cpu::of(&server), Instant::now());
    let mut taken = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        let typed = Instant::now();
        terminal.screen.clear();
        terminal.type_in(b"x").await;
        while !terminal.screen.ends_with(b"x") {
            if let event @ (Event::Closed(..) | Event::Lost) = terminal.next().await {
                panic!("{event:?}");
            }
        }
        taken.push(typed.elapsed());
        sleep(BETWEEN).await;
    }
    let (after, cpu, seconds) =
        (offsets(&api).await, Cpu::of(&server).since(cpu), start.elapsed().as_secs_f64());
    taken.sort();
    let printed = |id: &String| after[id].saturating_sub(before[id]) as f64;
    let mut each: Vec<f64> = before.keys().filter(|id| **id != session).map(printed).collect();
    each.sort_by(f64::total_cmp);
    let all = each.iter().fold(0.0, |sum, printed| sum + printed) / seconds / f64::from(1 << 20);
    let even = each.first().zip(each.last()).map_or(1.0, |(slowest, fastest)| slowest / fastest);
    let millis = |part: usize| taken[taken.len() * part / 100].as_secs_f64() * 1e3;
    let store = 100.0 * cpu.store as f64 / cpu.all.max(1) as f64;
    println!(
        "{count:>6} {created:>10.1} {all:>13.1} {even:>16.2} {:>13.2} {:>8.2} {store:>16.2}",
        millis(50),
        millis(99)
    );
}

/// How long a program waits to be told where the cursor is, nobody attached.
async fn questions(pause: &str, text: &str, count: usize) {
    let server = Server::start_quiet().await;
    let script = format!(
        r#"use Time::HiRes qw(time sleep); $| = 1; srand(1); my @taken;
        system("stty raw -echo");
        for (1..{count}) {{
            sleep({pause}); my ($asked, $in) = (time, ""); print "\e[6n";
            while ($in !~ /R/) {{ sysread(STDIN, my $more, 64) or exit; $in .= $more }}
            push @taken, int(1e6 * (time - $asked));
        }}
        print "\e[HTAKEN @taken END"; sleep 1000"#
    );
    let command = json!({ "command": ["perl", "-e", script], "cols": 1000, "rows": 100 });
    let id = server.api().create(command).await["id"].as_str().expect("an id").to_owned();
    let wait = format!("/api/v1/sessions/{id}/screen?wait=text:END&timeout_ms=15000");
    let shown = loop {
        let reply = server.api().get(&wait).await;
        if reply.status == 200 {
            break String::from_utf8_lossy(&reply.bytes).replace('\n', "");
        }
    };
    let words = shown.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let mut taken: Vec<f64> = words.collect();
    taken.sort_by(f64::total_cmp);
    let millis = |part: usize| taken[taken.len() * part / 100] / 1e3;
    println!("{text:<26} {:>7.2} {:>8.2}", millis(50), millis(99));
}

/// The same flood to one client while the database is written, and while it cannot be: then
/// what is to be written waits in memory.
async fn persistence(rounds: usize, bytes: u64) {
    let server = Server::start_quiet().await;
    let api = server.api();
    let script =
        format!("stty raw -echo; while read -r _; do yes {:?} | head -c {bytes}; done", FLOOD[1]);
    let id = api.run(&script).await;
    let path = format!("/api/v1/sessions/{id}/attach");
    let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
    terminal.control("attached").await;
    let database = rusqlite::Connection::open(server.state().join("stayd.db")).expect("database");
    println!("database  MiB/s  server and holder, ms/MiB  store, % of CPU");
    for round in 0..2 * rounds {
        let on = round % 2 == 0;
        if !on {
            database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        }
        let goal = terminal.offset + bytes;
        let (cpu, start) = (Cpu::of(&server), Instant::now());
        terminal.type_in(b"\n").await;
        terminal.read_to(goal).await;
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), Cpu::of(&server).since(cpu));
        if !on {
            database.execute_batch("ROLLBACK").expect("the lock's end");
        }
        let mib = bytes as f64 / f64::from(1 << 20);
        println!(
            "{:>8} {:>6.1} {:>25.2} {:>15.2}",
            if on { "on" } else { "off" },
            mib / seconds,
            cpu.all as f64 * 10.0 / mib,
            100.0 * cpu.store as f64 / cpu.all.max(1) as f64
        );
    }
}

/// What so many idle sessions take of a core.
async fn rest(count: usize) {
    let server = Server::start_quiet().await;
    let api = server.api();
    for _ in 0..count {
        api.create(json!({ "command": ["sleep", "infinity"] })).await;
    }
    sleep(SETTLED).await;
    let before = Cpu::of(&server);
    sleep(IDLE).await;
    let ticks = Cpu::of(&server).since(before).all;
    // A tick is 10 ms.
    let part = ticks as f64 / IDLE.as_secs_f64();
    println!("{count} idle sessions: {part:.2} % of a core");
}

/// Bytes of output of every session.
async fn offsets(api: &Api) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    let mut page = String::new();
    loop {
        let list = api.get(&format!("/api/v1/sessions?limit=500{page}")).await.ok(200);
        for session in list["sessions"].as_array().expect("sessions") {
            let id = session["id"].as_str().expect("an id").to_owned();
            found.insert(id, session["offset"].as_u64().expect("an offset"));
        }
        match list["next"].as_str() {
            Some(next) => page = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Clock ticks that server and holder have used, and those of the database's thread.
#[derive(Clone, Copy)]
struct Cpu {
    all: u64,
    store: u64,
}

impl Cpu {
    fn of(server: &Server) -> Self {
        let mut cpu = Cpu { all: 0, store: 0 };
        for pid in [server.pid(), server.holder_pid()] {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
            for task in tasks.flatten() {
                // A thread may end while we look.
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let Some((name, rest)) = stat.rsplit_once(')') else { continue };
                let ticks = |place: usize| -> u64 {
                    rest.split_whitespace().nth(place).and_then(|n| n.parse().ok()).expect("ticks")
                };
                let used = ticks(11) + ticks(12);
                cpu.all += used;
                if name.ends_with("(store") {
                    cpu.store += used;
                }
            }
        }
        cpu
    }

    fn since(self, before: Cpu) -> Cpu {
        Cpu {
            all: self.all.saturating_sub(before.all),
            store: self.store.saturating_sub(before.store),
        }
    }
}
