//! Checkpoints: what one costs a server (with the holder's part in it, since it waits for
//! the answer), and what its successor pays to read it.

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slog::{Discard, Logger, o};
use stayd::holder::{CheckpointMeta, Holder, Paths, SpawnSpec};
use stayd::id::SessionId;
use std::path::PathBuf;
use tokio::runtime::Builder;

/// A full screen with some hundred lines of scrollback.
const SCREEN: usize = 100 << 10;
const RING: u64 = 256 << 10;

fn checkpoint(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_stayd"));
    let paths = Paths { state_dir: dir.path().to_owned(), program };
    let log = Logger::root(Discard, o!());
    let (holder, _notices) = runtime.block_on(Holder::connect_or_launch(&paths, &log)).unwrap();
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
    runtime.block_on(holder.spawn(id, &spec, RING, b"")).unwrap();
    let (meta, screen) = (CheckpointMeta::default(), vec![b'x'; SCREEN]);
    let mut group = c.benchmark_group("checkpoint");
    for size in [0, SCREEN] {
        group.throughput(Throughput::Bytes(size as u64));
        let bytes = &screen[..size];
        group.bench_function(format!("leave {} KiB", size >> 10), |b| {
            b.to_async(&runtime).iter(async || holder.checkpoint(id, &meta, bytes).await.unwrap());
        });
    }
    let held = runtime.block_on(holder.adopt()).unwrap().remove(0);
    let kept = held.checkpoint.unwrap();
    group.bench_function("read 100 KiB", |b| b.iter(|| kept.read().unwrap()));
    group.finish();
    // Its session hangs up with it.
    let pid = nix::unistd::Pid::from_raw(holder.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

criterion_group!(benches, checkpoint);
criterion_main!(benches);
