//! The holder alone, without a server: what a keystroke and a flood take from a PTY to shared
//! memory. The programs, the holder and this reader share the machine.

use bytes::BytesMut;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use slog::{Discard, Logger, o};
use stayd::holder::{Held, Holder, Paths, SpawnSpec, register};
use stayd::id::{ClientKey, SessionId};
use stayd::ring::Reader;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;

const RING: u64 = 2 << 20;
/// Many times the ring.
const FLOOD: u64 = 16 << 20;
/// Read at once.
const PIECE: usize = 64 << 10;

/// A session, and a place in its output.
struct Terminal {
    holder: Holder,
    id: SessionId,
    key: ClientKey,
    ring: Arc<Reader>,
    wake: AsyncFd<OwnedFd>,
    typed: u64,
    cursor: u64,
    bytes: BytesMut,
}

impl Terminal {
    async fn start(holder: &Holder, script: &str) -> Self {
        let id = SessionId::generate();
        let spec = SpawnSpec {
            login: false,
            command: ["bash", "-c", script].map(str::to_owned).to_vec(),
            cwd: "/".to_owned(),
            env: vec![("PATH".to_owned(), std::env::var("PATH").expect("PATH"))],
            cols: 80,
            rows: 24,
            checkpoints: false,
            resumed: None,
            confinement: Default::default(),
        };
        let held = holder.spawn(id, &spec, RING, b"").await.expect("a session");
        let Held { ring, wake, .. } = held;
        let wake = register(wake, Interest::READABLE).expect("a wake-up");
        let holder = holder.clone();
        let (key, bytes) = (ClientKey::named("bench", "a"), BytesMut::new());
        let mut terminal = Terminal { holder, id, key, ring, wake, typed: 0, cursor: 0, bytes };
        terminal.read_to(5).await;
        assert_eq!(&terminal.bytes[..], b"ready");
        terminal
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.holder.input(self.id, self.key, self.typed, bytes);
        self.typed += bytes.len() as u64;
    }

    /// Reads all output before this offset, and gives the ring free behind it.
    async fn read_to(&mut self, goal: u64) {
        while self.cursor < goal {
            self.bytes.clear();
            let read = self.ring.read(self.cursor, PIECE, &mut self.bytes).expect("not overtaken");
            self.cursor += read as u64;
            if self.ring.advance_tail(self.cursor) {
                self.holder.resume(self.id);
            }
            if read == 0 {
                self.ring.request_wake(self.cursor + 1);
                if self.ring.head() == self.cursor {
                    self.wake.readable().await.expect("a wake-up").clear_ready();
                }
            }
        }
    }
}

fn echo(c: &mut Criterion, runtime: &Runtime, holder: &Holder) {
    let script = "stty raw -echo; printf ready; exec cat";
    let mut terminal = runtime.block_on(Terminal::start(holder, script));
    c.bench_function("holder/echo", |b| {
        b.iter_custom(|times| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..times {
                    terminal.type_in(b"x");
                    terminal.read_to(terminal.cursor + 1).await;
                }
                start.elapsed()
            })
        });
    });
}

fn flood(c: &mut Criterion, runtime: &Runtime, holder: &Holder) {
    let mut group = c.benchmark_group("holder/flood");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for count in [1, 8] {
        let each = FLOOD / count;
        let script = format!(
            "stty raw -echo; printf ready; while read -r -n 1 _; do head -c {each} /dev/zero; done"
        );
        let terminals = (0..count).map(|_| Terminal::start(holder, &script));
        let mut terminals = runtime.block_on(futures_util::future::join_all(terminals));
        group.throughput(Throughput::Bytes(FLOOD));
        group.bench_function(format!("{count} sessions"), |b| {
            b.iter_custom(|times| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..times {
                        let all = terminals.iter_mut().map(|terminal| async move {
                            terminal.type_in(b"x");
                            terminal.read_to(terminal.cursor + each).await;
                        });
                        futures_util::future::join_all(all).await;
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

fn holder(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_stayd"));
    let paths = Paths { state_dir: dir.path().to_owned(), program };
    let log = Logger::root(Discard, o!());
    let connected = runtime.block_on(Holder::connect_or_launch(&paths, &log));
    let (holder, _notices) = connected.expect("a holder");
    echo(c, &runtime, &holder);
    flood(c, &runtime, &holder);
    let pid = nix::unistd::Pid::from_raw(holder.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    // Its directory goes after it.
    while nix::sys::signal::kill(pid, None).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50);
    targets = holder
}
criterion_main!(benches);
