//! What a session costs the holder, in KiB: `cargo bench --bench holder_memory`.
//!
//! Rings are shared memory; nobody else has them mapped here, so they count in full. The
//! sessions' own processes do not count, nor does what the kernel keeps for a terminal.

#![allow(missing_docs, clippy::print_stdout)]

use slog::{Discard, Logger, o};
use stayd::holder::{Holder, Paths, SpawnSpec};
use stayd::id::{ClientKey, SessionId};
use stayd::ring::CAPACITY_DEFAULT;
use std::path::PathBuf;
use std::time::Duration;

/// Sessions at which is measured; without `--bench` (as a test) it only has to run.
const SIZES: [usize; 3] = [0, 100, 1000];
const SIZES_TEST: [usize; 2] = [0, 10];

fn main() {
    let bench = std::env::args().any(|arg| arg == "--bench");
    let sizes: &[usize] = if bench { &SIZES } else { &SIZES_TEST };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(sizes));
}

async fn measure(sizes: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_stayd"));
    let paths = Paths { state_dir: dir.path().to_owned(), program };
    let log = Logger::root(Discard, o!());
    let (holder, _notices) = Holder::connect_or_launch(&paths, &log).await.unwrap();
    println!("sessions                     PSS      RSS  of it private  shared  page tables");
    let mut ids = Vec::new();
    let mut first = None;
    for &size in sizes {
        while ids.len() < size {
            ids.push(spawn(&holder).await);
        }
        let now = report(&holder, &format!("{size} fresh"));
        let first = *first.get_or_insert(now);
        per_session(first, now, size);
    }
    for &id in &ids {
        // A line and its echo: the first page of input and of output.
        holder.input(id, ClientKey::named("bench", "a"), 0, b"hello\r");
    }
    loop {
        let held = holder.adopt().await.unwrap();
        if held.iter().all(|held| held.ring.head() >= 14) {
            break;
        }
        drop(held);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let now = report(&holder, &format!("{} after a line each", ids.len()));
    per_session(first.unwrap_or_default(), now, ids.len());
    let pid = nix::unistd::Pid::from_raw(holder.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    while nix::sys::signal::kill(pid, None).is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn spawn(holder: &Holder) -> SessionId {
    let id = SessionId::generate();
    let spec = SpawnSpec {
        login: false,
        command: vec!["cat".to_owned()],
        cwd: "/".to_owned(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        cols: 80,
        rows: 24,
        checkpoints: true,
        resumed: None,
        confinement: Default::default(),
    };
    holder.spawn(id, &spec, CAPACITY_DEFAULT, &[b'x'; 300]).await.unwrap();
    id
}

/// PSS and page tables.
type Figures = (u64, u64);

fn report(holder: &Holder, what: &str) -> Figures {
    let pid = holder.pid();
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches(" kB").trim().parse().unwrap()
    };
    let (pss, rss) = (kib(&rollup, "Pss:"), kib(&rollup, "Rss:"));
    let (anon, shmem) = (kib(&status, "RssAnon:"), kib(&status, "RssShmem:"));
    let tables = kib(&status, "VmPTE:");
    println!("{what:24} {pss:7}  {rss:7}  {anon:13}  {shmem:6}  {tables:11}");
    (pss, tables)
}

fn per_session(first: Figures, now: Figures, sessions: usize) {
    if sessions > 0 {
        let each = |now: u64, first: u64| now.saturating_sub(first) as f64 / sessions as f64;
        let (pss, tables) = (each(now.0, first.0), each(now.1, first.1));
        println!("  each: {pss:.1} KiB PSS, {tables:.1} KiB of page tables");
    }
}
