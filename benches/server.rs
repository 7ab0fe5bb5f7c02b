//! Echo and throughput through the whole server: the real program with its holder, a real
//! PTY and a real WebSocket. Server, client and the program on the PTY share the machine.

#[path = "../tests/integration/support/mod.rs"]
mod support;

use actix_web::rt::{System, SystemRunner};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Api, Event, Server, Terminal};

/// A recorded log in colour, about 48 KiB of whole lines.
const RECORDED: &[u8] = include_bytes!("data/colorlog.raw");
/// Many times the ring (2 MiB would fit) and the client's window.
const FILE_BYTES: usize = 8 << 20;
/// The last line of the file; the PTY writes its newline as CR LF.
const LAST: &str = "-- the end --";
/// A bare shell, from the profile of the test server.
const SHELL: &str = r#"{"profile":"bash"}"#;

/// `stayd.v1` acknowledges, `raw.v1` leaves flow control to TCP.
const DIALECTS: [&str; 2] = ["stayd.v1", "raw.v1"];

/// Attaches to a new session that runs a script, and waits until it has said that it is
/// ready, with these last characters (without a line end: a picture has none).
async fn terminal(api: &Api, dialect: &str, script: &str, ready: &str) -> Terminal {
    let id = api.run(script).await;
    let path = format!("/api/v1/sessions/{id}/attach");
    let mut terminal = Terminal::open(api, &path, Some(dialect)).await;
    terminal.wait_for(ready).await;
    terminal.screen.clear();
    terminal
}

/// Reads until the screen ends with these bytes, which are then forgotten.
async fn read_until(terminal: &mut Terminal, end: &[u8]) -> usize {
    while !terminal.screen.ends_with(end) {
        match terminal.next().await {
            event @ (Event::Closed(..) | Event::Lost) => panic!("{event:?}"),
            Event::Control(control) if control["type"] == "snapshot" => {
                panic!("fell behind; what came is no measure of throughput")
            }
            _ => {}
        }
    }
    let read = terminal.screen.len();
    terminal.screen.clear();
    read
}

/// One byte typed until it is back.
fn echo(c: &mut Criterion, system: &SystemRunner, api: &Api) {
    let mut group = c.benchmark_group("server/echo");
    for dialect in DIALECTS {
        let script = "stty raw -echo; printf ready; exec cat";
        let mut terminal = system.block_on(terminal(api, dialect, script, "ready"));
        group.bench_function(dialect, |b| {
            b.iter_custom(|times| {
                system.block_on(async {
                    let start = Instant::now();
                    for _ in 0..times {
                        terminal.type_in(b"x").await;
                        read_until(&mut terminal, b"x").await;
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// From typing the name of a file to the last byte of it.
fn throughput(c: &mut Criterion, system: &SystemRunner, api: &Api, dir: &Path) {
    let path = dir.join("colorlog");
    let mut file = RECORDED.repeat(FILE_BYTES / RECORDED.len());
    file.extend(format!("{LAST}\n").bytes());
    std::fs::write(&path, &file).expect("a file to show");
    let newlines = file.iter().filter(|&&byte| byte == b'\n').count();
    let shown = file.len() + newlines;
    let typed = format!("{}\n", path.display());
    let end = format!("{LAST}\r\n");

    let mut group = c.benchmark_group("server/throughput");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(shown as u64));
    for dialect in DIALECTS {
        let script = r#"stty -echo; printf ready; while read -r file; do cat "$file"; done"#;
        let mut terminal = system.block_on(terminal(api, dialect, script, "ready"));
        group.bench_function(dialect, |b| {
            b.iter_custom(|times| {
                system.block_on(async {
                    let start = Instant::now();
                    for _ in 0..times {
                        terminal.type_in(&typed).await;
                        let read = read_until(&mut terminal, end.as_bytes()).await;
                        assert_eq!(read, shown, "every byte, once");
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// From opening the WebSocket to the word that the client is attached.
fn attach(c: &mut Criterion, system: &SystemRunner, api: &Api) {
    let session = system.block_on(api.create(json!({ "profile": "bash" })));
    let path = format!("{}/attach", session_path(&session));
    c.bench_function("server/attach", |b| {
        b.iter_custom(|times| {
            system.block_on(async {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    let start = Instant::now();
                    let mut terminal = Terminal::open(api, &path, Some("stayd.v1")).await;
                    terminal.control("attached").await;
                    taken += start.elapsed();
                    terminal.leave().await;
                }
                taken
            })
        });
    });
}

/// From asking for a session, on a new connection, to its process running.
fn create(c: &mut Criterion, system: &SystemRunner, api: &Api) {
    let mut group = c.benchmark_group("server");
    // Ending a session, which is not measured, takes longer than starting it.
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.bench_function("create", |b| {
        b.iter_custom(|times| {
            system.block_on(async {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    let start = Instant::now();
                    let reply = api.post("/api/v1/sessions", SHELL).await;
                    taken += start.elapsed();
                    api.delete(&session_path(&reply.ok(201))).await.ok(200);
                }
                taken
            })
        });
    });
    group.finish();
}

fn session_path(session: &Value) -> String {
    format!("/api/v1/sessions/{}", session["id"].as_str().expect("an id"))
}

fn server(c: &mut Criterion) {
    let system = System::new();
    let server = system.block_on(Server::start_quiet());
    let api = server.api();
    echo(c, &system, &api);
    throughput(c, &system, &api, &server.state());
    attach(c, &system, &api);
    create(c, &system, &api);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50);
    targets = server
}
criterion_main!(benches);
