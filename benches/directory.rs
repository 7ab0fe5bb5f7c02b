//! What an edge takes as its fleet grows: 10, 100 and 1,000 machines with a hundred sessions each. The machines
//! are made up, their lines are put into the real directory as those of real ones, and a real gateway reads
//! them.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use async_nats::Client;
use bytes::Bytes;
use chrono::Utc;
use serde_json::Value;
use stayd::fleet::NodeRecord;
use stayd::id::SessionId;
use stayd::protocol::Session;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::{Api, NatsServer, Server, soon};
use uuid::Uuid;

/// How often a machine says that it lives, and how often it tells all of its sessions, as `src/fleet` does it.
const BEAT: Duration = Duration::from_secs(3);
const TELL: Duration = Duration::from_secs(60);
/// A part of both times, in which some of the machines do so.
const TICK: Duration = Duration::from_millis(30);
/// Times that what takes long enough to be measured one by one is repeated.
const TIMES: usize = 21;
/// Changes that are followed to the edge.
const CHANGES: usize = 101;
/// Ticks of the processor's clock in a second (sysconf(3)).
const CLOCK: f64 = 100.0;

struct Size {
    machines: &'static [usize],
    /// Of each machine.
    sessions: usize,
    /// How long the edge is watched at rest: as long as all sessions take to be told once.
    rest: Duration,
}

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let size = match bench {
        true => Size { machines: &[10, 100, 1000], sessions: 100, rest: TELL },
        false => Size { machines: &[1, 3], sessions: 2, rest: BEAT },
    };
    System::new().block_on(measure(&size));
}

async fn measure(size: &Size) {
    let Some(nats) = NatsServer::start().await else { return };
    let settings =
        format!("[fleet]\nurl = [\"{}\"]\nname = \"edge\"\ngateway = true\n", nats.url());
    let mut edge = Server::start_quiet_by(&settings).await;
    sees(&edge.api(), "edge").await;
    let (rss, pss) = (edge.rss_kib(), pss_kib(edge.pid()));
    println!("without machines: RSS {:.1} MiB, PSS {:.1} MiB", mib(rss), mib(pss));
    println!(
        "machines  sessions  has all, ms  nodes, ms   KiB  first 100, ms  first 500, ms   KiB  \
         all, ms  one machine's, ms  change p50, ms  p99, ms  RSS, MiB  PSS, MiB  KiB each  \
         at rest, % of a core"
    );
    let machines = Machines::default();
    machines.clone().live(nats.url());
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    for &count in size.machines {
        machines.is_quiet.store(true, Ordering::Relaxed);
        machines.grow(&client, count, size.sessions).await;
        machines.put_last(&client).await;
        edge.kill();
        let start = Instant::now();
        edge.restart().await;
        let api = edge.api();
        machines.last_is_at(&api).await;
        let has_all = start.elapsed();
        let all = format!("/api/v1/sessions?node=all&limit={}", 1000);
        assert_eq!(every(&api, &all).await, count * size.sessions, "sessions at the edge");
        machines.is_quiet.store(false, Ordering::Relaxed);
        let at_rest = at_rest(edge.pid(), size.rest).await;
        let (nodes, nodes_kib) = timed(&api, "/api/v1/nodes").await;
        let (first, _) = timed(&api, "/api/v1/sessions?node=all").await;
        let (page, page_kib) = timed(&api, "/api/v1/sessions?node=all&limit=500").await;
        let (one, _) = timed(&api, "/api/v1/sessions?node=m0").await;
        let start = Instant::now();
        every(&api, &all).await;
        let whole = start.elapsed();
        let (p50, p99) = machines.change(&client, &api).await;
        let (now, share) = (edge.rss_kib(), pss_kib(edge.pid()));
        println!(
            "{count:>8} {:>9} {:>12.0} {nodes:>10.2} {nodes_kib:>5.0} {first:>14.2} {page:>14.2} \
             {page_kib:>5.0} {:>8.0} {one:>18.2} {p50:>15.1} {p99:>8.1} {:>9.1} {:>9.1} {:>9.2} \
             {at_rest:>21.1}",
            count * size.sessions,
            has_all.as_secs_f64() * 1e3,
            whole.as_secs_f64() * 1e3,
            mib(now),
            mib(share),
            share.saturating_sub(pss) as f64 / (count * size.sessions) as f64,
        );
    }
}

/// The machines that are made up. Clones share them.
#[derive(Clone, Default)]
struct Machines {
    all: Arc<Mutex<Vec<Machine>>>,
    /// While it is set, they do not tell of their sessions again, so that lines stay in their order.
    is_quiet: Arc<AtomicBool>,
}

struct Machine {
    record: NodeRecord,
    sessions: Vec<(SessionId, Bytes)>,
}

impl Machine {
    fn new(number: usize, sessions: usize) -> Machine {
        let name = format!("m{number}");
        let record = NodeRecord {
            name: name.clone(),
            instance: Uuid::now_v7(),
            run: number as u64 + 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: BTreeMap::from([("site".to_owned(), format!("site-{}", number % 10))]),
            live_sessions: sessions,
            max_sessions: 1000,
            load: Some(0.5),
            cores: 8,
            since: Utc::now().to_rfc3339(),
            gateway: false,
            rights: "controller".to_owned(),
        };
        let session = |count: usize| {
            let id = SessionId::generate();
            (id, session(&name, id, count, "make all"))
        };
        Machine { record, sessions: (0..sessions).map(session).collect() }
    }

    /// Its lines in the directory of sessions, the last of which says that these are all.
    fn lines(&self) -> Vec<(String, Bytes)> {
        let name = &self.record.name;
        let line = |(id, line): &(SessionId, Bytes)| (key(name, id), line.clone());
        let itself = (key(name, "node"), self.beat().1);
        self.sessions.iter().map(line).chain([itself]).collect()
    }

    /// Its line in the directory of machines.
    fn beat(&self) -> (String, Bytes) {
        let text = serde_json::to_vec(&self.record).expect("JSON");
        (format!("$KV.stayd-nodes.{}", self.record.name), text.into())
    }
}

fn key(name: &str, what: impl std::fmt::Display) -> String {
    format!("$KV.stayd-sessions.{name}.{what}")
}

/// The line of a session, with what most have.
fn session(node: &str, id: SessionId, count: usize, title: &str) -> Bytes {
    let now = Utc::now();
    let session = Session {
        name: Some(format!("work-{count}")),
        profile: Some("bash".to_owned()),
        command: vec!["/bin/bash".to_owned(), "-l".to_owned()],
        cwd: "/home/somebody/projects/something".to_owned(),
        started_at: Some(now),
        pid: Some(4242),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        title: Some(format!("somebody@{node}: {title}")),
        node: Some(node.to_owned()),
        owner: Some("owner".to_owned()),
        ..Session::begun(id, now)
    };
    serde_json::to_vec(&session).expect("JSON").into()
}

impl Machines {
    /// Has them say that they live, and tell of their sessions again, on a thread of its own.
    fn live(self, url: String) {
        std::thread::spawn(move || {
            System::new().block_on(async move {
                let client = async_nats::connect(url).await.expect("a connection");
                let mut every = actix_web::rt::time::interval(TICK);
                for tick in 0_usize.. {
                    every.tick().await;
                    let due = |time: Duration, number: usize, of: usize| {
                        let ticks = (time.as_millis() / TICK.as_millis()) as usize;
                        number * ticks / of == tick % ticks
                    };
                    let mut lines = Vec::new();
                    let is_quiet = self.is_quiet.load(Ordering::Relaxed);
                    {
                        let all = self.lock();
                        for (number, machine) in all.iter().enumerate() {
                            if due(BEAT, number, all.len()) {
                                lines.push(machine.beat());
                            }
                            if due(TELL, number, all.len()) && !is_quiet {
                                lines.extend(machine.lines());
                            }
                        }
                    }
                    for (subject, line) in lines {
                        // The benchmark ends nats-server before this thread.
                        let _ = client.publish(subject, line).await;
                    }
                }
            });
        });
    }

    /// Adds machines until there are so many, and puts their lines.
    async fn grow(&self, client: &Client, count: usize, sessions: usize) {
        let there = self.lock().len();
        for number in there..count {
            let machine = Machine::new(number, sessions);
            let lines = machine.lines();
            client.publish(machine.beat().0, machine.beat().1).await.expect("sent");
            for (subject, line) in lines {
                client.publish(subject, line).await.expect("sent");
            }
            // This is answered once it and all before it are kept.
            keep(client, machine.beat()).await;
            self.lock().push(machine);
        }
    }

    /// Puts the last line of the last machine again, so that it stands behind all others.
    async fn put_last(&self, client: &Client) {
        let line = {
            let all = self.lock();
            let Machine { record, sessions } = all.last().expect("a machine");
            let (id, line) = sessions.last().expect("a session");
            (key(&record.name, id), line.clone())
        };
        keep(client, line).await;
    }

    /// Waits until the edge has the session whose line stands last in the directory.
    async fn last_is_at(&self, api: &Api) {
        let (name, id) = {
            let all = self.lock();
            let last = all.last().expect("a machine");
            (last.record.name.clone(), last.sessions.last().expect("a session").0)
        };
        soon("the whole directory", async {
            loop {
                let there = api.get(&format!("/api/v1/sessions?node={name}&limit=1")).await;
                if there.status == 200 && there.json().to_string().contains(&id.to_string()) {
                    return;
                }
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Changes one session after the other, and waits until the edge shows it: milliseconds.
    async fn change(&self, client: &Client, api: &Api) -> (f64, f64) {
        let mut taken = Vec::new();
        for time in 0..CHANGES {
            let title = format!("change {time}");
            let (name, subject, line) = {
                let mut all = self.lock();
                let machine = time * all.len() / CHANGES;
                let Machine { record, sessions } = &mut all[machine];
                let count = time % sessions.len();
                let (id, line) = &mut sessions[count];
                *line = session(&record.name, *id, count, &title);
                (format!("{}&name=work-{count}", record.name), key(&record.name, *id), line.clone())
            };
            let start = Instant::now();
            client.publish(subject, line).await.expect("sent");
            client.flush().await.expect("sent");
            let path = format!("/api/v1/sessions?node={name}");
            soon("the change", async {
                while !String::from_utf8_lossy(&api.get(&path).await.bytes).contains(&title) {}
            })
            .await;
            taken.push(start.elapsed());
        }
        taken.sort();
        let millis = |percent: usize| taken[taken.len() * percent / 100].as_secs_f64() * 1e3;
        (millis(50), millis(99))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Machine>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a line, and waits until it is kept.
async fn keep(client: &Client, (subject, line): (String, Bytes)) {
    let kept = soon("a receipt", client.request(subject, line)).await.expect("a receipt");
    let kept: Value = serde_json::from_slice(&kept.payload).expect("a receipt");
    assert!(kept["error"].is_null(), "{kept}");
}

/// Waits until a server knows a machine.
async fn sees(api: &Api, name: &str) {
    soon("the machine", async {
        let is_it = |node: &Value| node["name"] == *name;
        while !api.get("/api/v1/nodes").await.json()["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.iter().any(is_it))
        {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The number of sessions on all pages.
async fn every(api: &Api, path: &str) -> usize {
    let (mut count, mut page) = (0, String::new());
    loop {
        let list = api.get(&format!("{path}{page}")).await.ok(200);
        count += list["sessions"].as_array().expect("sessions").len();
        match list["next"].as_str() {
            Some(next) => page = format!("&cursor={next}"),
            None => return count,
        }
    }
}

/// The median of the time that an answer takes, in milliseconds, and its size in KiB.
async fn timed(api: &Api, path: &str) -> (f64, f64) {
    let (mut taken, mut kib) = (Vec::new(), 0.0);
    for _ in 0..TIMES {
        let start = Instant::now();
        let reply = api.get(path).await;
        taken.push(start.elapsed());
        assert_eq!(reply.status.as_u16(), 200, "{path}");
        kib = reply.bytes.len() as f64 / 1024.0;
    }
    taken.sort();
    (taken[TIMES / 2].as_secs_f64() * 1e3, kib)
}

/// What a process takes while nobody asks it anything, in percent of a core.
async fn at_rest(pid: i32, time: Duration) -> f64 {
    let (before, start) = (ticks(pid), Instant::now());
    sleep(time).await;
    100.0 * (ticks(pid) - before) as f64 / CLOCK / start.elapsed().as_secs_f64()
}

/// Ticks that a process has run (proc_pid_stat(5)).
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let words: Vec<&str> = rest.split_whitespace().collect();
    [words[11], words[12]].iter().map(|word| word.parse::<u64>().expect("ticks")).sum()
}

fn pss_kib(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("Pss");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB")
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
