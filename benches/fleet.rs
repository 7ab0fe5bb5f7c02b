//! Output and echo of a session on another machine, through an edge, beside those at the machine itself and
//! beside a plain ssh, in turn, so that noise hits all of them; and the way of one byte through NATS and back,
//! which no stream through NATS can be faster than. Everything shares this machine's cores.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use futures_util::StreamExt;
use serde_json::json;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Api, Event, NatsServer, Server, Sshd, Terminal, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A line like those of a log, which is printed without pause.
const LINE: &str = "2026-01-01T00:00:00 \x1b[32mINFO\x1b[0m  a line as long as most";
/// Echoes what is typed.
const ECHO: &str = "stty raw -echo; printf ready; exec cat";
/// What typing waits for after each echo: a machine that is never idle shows another echo.
const BETWEEN: Duration = Duration::from_millis(5);

struct Size {
    rounds: usize,
    /// Bytes of output in each round.
    bytes: u64,
    /// Keystrokes in each round.
    keys: usize,
}

fn main() {
    // As a test it only has to run.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let size = match bench {
        true => Size { rounds: 9, bytes: 128 << 20, keys: 500 },
        false => Size { rounds: 1, bytes: 1 << 20, keys: 5 },
    };
    System::new().block_on(compare(&size));
}

/// Prints so many bytes for each line that is typed.
fn flood(bytes: u64) -> String {
    let flood = format!("yes \"$(printf '{LINE}')\" | head -c {bytes}");
    format!("stty raw -echo; printf ready; while read -r _; do {flood}; done")
}

async fn compare(size: &Size) {
    let Some(nats) = NatsServer::start().await else { return };
    let member = async |name: &str, more: &str| {
        let url = nats.url();
        let settings = format!("[fleet]\nurl = [\"{url}\"]\nname = \"{name}\"\n{more}\n");
        Server::start_quiet_by(&settings).await
    };
    let (node, edge) = (member("node", "").await, member("edge", "gateway = true").await);
    soon("the node at the edge", async {
        while edge.api().get("/api/v1/nodes/node/sessions").await.status != 200 {
            sleep(BETWEEN).await;
        }
    })
    .await;
    let flood = flood(size.bytes);
    let mut ways = Vec::new();
    let (own, there) = (node.api(), edge.api());
    for (name, at) in [("the node itself", &own), ("through an edge", &there)] {
        let [flood, echo] = [attached(&own, at, &flood).await, attached(&own, at, ECHO).await];
        ways.push(Way::new(name, At::Server(flood), At::Server(echo)));
    }
    let sshd = Sshd::start();
    if let Some(sshd) = &sshd {
        let [flood, echo] = [Ssh::open(sshd, &flood).await, Ssh::open(sshd, ECHO).await];
        ways.push(Way::new("ssh -tt", At::Ssh(flood), At::Ssh(echo)));
    }
    let (url, (ready, is_ready)) = (nats.url().to_owned(), std::sync::mpsc::channel());
    std::thread::spawn(move || System::new().block_on(give_back(url, ready)));
    is_ready.recv().expect("a client that gives back");
    let back = Hears::open(&nats.url(), BACK).await;
    ways.push(Way::new("NATS, both ways", At::Nothing, At::Nats(back)));
    for _ in 0..size.rounds {
        for way in &mut ways {
            way.flood(size.bytes).await;
        }
        for way in &mut ways {
            way.echo(size.keys).await;
        }
    }
    println!("median (min–max)   output, MiB/s        echo p50, µs         p99, µs");
    for way in &mut ways {
        let [output, p50, p99] = [&mut way.output, &mut way.p50, &mut way.p99].map(|it| spread(it));
        println!("{:<18} {output:<20} {p50:<20} {p99}", way.name);
    }
}

/// Starts the program on the node, and attaches to it at a server.
async fn attached(node: &Api, at: &Api, script: &str) -> Terminal {
    let session = node.create(json!({ "command": ["bash", "-c", script] })).await;
    let id = session["id"].as_str().expect("an id");
    let path = format!("/api/v1/nodes/node/sessions/{id}/attach");
    let mut terminal = Terminal::open(at, &path, Some("stayd.v1")).await;
    terminal.wait_for("ready").await;
    terminal
}

/// A way to the program, and what it took in each round.
struct Way {
    name: &'static str,
    flood: At,
    echo: At,
    output: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

enum At {
    Server(Terminal),
    Ssh(Ssh),
    Nats(Hears),
    Nothing,
}

impl Way {
    fn new(name: &'static str, flood: At, echo: At) -> Way {
        Way { name, flood, echo, output: Vec::new(), p50: Vec::new(), p99: Vec::new() }
    }

    async fn flood(&mut self, bytes: u64) {
        if matches!(self.flood, At::Nothing) {
            return;
        }
        let start = Instant::now();
        self.flood.type_in(b'\n').await;
        self.flood.read(bytes).await;
        self.output.push(bytes as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20));
    }

    async fn echo(&mut self, keys: usize) {
        let mut taken = Vec::with_capacity(keys);
        for _ in 0..keys {
            let typed = Instant::now();
            self.echo.type_in(b'x').await;
            self.echo.read(1).await;
            taken.push(typed.elapsed());
            sleep(BETWEEN).await;
        }
        taken.sort();
        let micros = |percent: usize| taken[taken.len() * percent / 100].as_secs_f64() * 1e6;
        self.p50.push(micros(50));
        self.p99.push(micros(99));
    }
}

impl At {
    async fn type_in(&mut self, key: u8) {
        match self {
            At::Server(terminal) => terminal.type_in([key]).await,
            At::Ssh(ssh) => ssh.typed.write_all(&[key]).await.expect("ssh takes it"),
            At::Nats(nats) => nats.send(THERE, vec![key].into()).await,
            At::Nothing => {}
        }
    }

    /// Reads so many bytes, and keeps none.
    async fn read(&mut self, bytes: u64) {
        match self {
            At::Server(terminal) => {
                let goal = terminal.offset + bytes;
                while terminal.offset < goal {
                    match terminal.next().await {
                        Event::Control(it) if it["type"] == "snapshot" => {
                            panic!("fell behind; what came is no measure of throughput")
                        }
                        event @ (Event::Closed(..) | Event::Lost) => panic!("{event:?}"),
                        _ => terminal.screen.clear(),
                    }
                }
                assert_eq!(terminal.offset, goal, "every byte, once");
            }
            At::Ssh(ssh) => soon("output of ssh", ssh.read(bytes)).await,
            At::Nats(nats) => drop(soon("a message", nats.heard.next()).await),
            At::Nothing => {}
        }
    }
}

const THERE: &str = "bench.there";
const BACK: &str = "bench.back";

/// A client of NATS that hears one subject.
struct Hears {
    client: async_nats::Client,
    heard: async_nats::Subscriber,
}

impl Hears {
    async fn open(url: &str, subject: &str) -> Hears {
        let client = async_nats::connect(url).await.expect("NATS");
        let heard = client.subscribe(subject.to_owned()).await.expect("a subscription");
        client.flush().await.expect("NATS");
        Hears { client, heard }
    }

    async fn send(&self, subject: &str, payload: bytes::Bytes) {
        self.client.publish(subject.to_owned(), payload).await.expect("sent");
    }
}

/// Sends back what it hears, on a thread of its own.
async fn give_back(url: String, ready: std::sync::mpsc::Sender<()>) {
    let mut there = Hears::open(&url, THERE).await;
    ready.send(()).expect("somebody waits");
    while let Some(message) = there.heard.next().await {
        there.send(BACK, message.payload).await;
    }
}

/// A terminal of sshd's, at the pipes of a client.
struct Ssh {
    typed: ChildStdin,
    shown: ChildStdout,
    space: Vec<u8>,
    /// It ends with this.
    _process: Child,
}

impl Ssh {
    async fn open(sshd: &Sshd, script: &str) -> Ssh {
        let quoted = format!("exec bash -c '{}'", script.replace('\'', r"'\''"));
        let mut client = sshd.client();
        client.args(["-tt", sshd.host(), &quoted]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Command::from(client).kill_on_drop(true).spawn().expect("ssh starts");
        let typed = process.stdin.take().expect("a pipe");
        let shown = process.stdout.take().expect("a pipe");
        let mut ssh = Ssh { typed, shown, space: vec![0; 64 << 10], _process: process };
        soon("the program at ssh", ssh.read("ready".len() as u64)).await;
        ssh
    }

    async fn read(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let read = self.shown.read(&mut self.space).await.expect("output of ssh");
            assert!(read > 0 && read as u64 <= left, "every byte, once");
            left -= read as u64;
        }
    }
}

fn spread(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (figures.first(), figures.last()) else { return "–".into() };
    format!("{:.0} ({least:.0}–{most:.0})", figures[figures.len() / 2])
}
