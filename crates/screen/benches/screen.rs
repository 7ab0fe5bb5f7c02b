//! What a screen costs: output taken in, snapshots taken and restored, memory.

#![allow(clippy::print_stdout)] // Sizes are printed beside the times.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stayd_screen::{Options, PlainRun, Screen};

fn stream(name: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fidelity/streams").join(name);
    std::fs::read(path).expect("recorded streams are in the repository")
}

fn filled(lines: usize) -> Screen {
    let log = stream("colorlog.80x24.raw");
    let mut screen = Screen::new(80, 24, Options { scrollback: lines });
    while screen.scrollback() < lines {
        screen.feed(&log, &mut Vec::new());
    }
    screen
}

fn feed(c: &mut Criterion) {
    let mut group = c.benchmark_group("screen_feed");
    for name in ["colorlog.80x24.raw", "vim.80x24.raw", "wide.80x24.raw"] {
        let bytes = stream(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            let mut screen = Screen::new(80, 24, Options::default());
            b.iter(|| screen.feed(black_box(&bytes), &mut Vec::new()));
        });
    }
    let lines = plain_lines();
    group.throughput(Throughput::Bytes(lines.len() as u64));
    group.bench_function("plain lines", |b| {
        let mut screen = Screen::new(80, 24, Options::default());
        b.iter(|| screen.feed(black_box(&lines), &mut Vec::new()));
    });
    group.finish();
}

fn plain_lines() -> Vec<u8> {
    (0..20_000).flat_map(|n| format!("{n} the quick brown fox\r\n").into_bytes()).collect()
}

/// As a server does it in a flood: it looks where the plain run ends, and skips all but its last
/// lines before each checkpoint.
fn flood(c: &mut Criterion) {
    const CHECKPOINT: usize = 512 << 10;
    let mut group = c.benchmark_group("screen_flood");
    for (name, lines) in
        [("colour log", stream("colorlog.80x24.raw")), ("plain lines", plain_lines())]
    {
        let lines = lines.repeat(CHECKPOINT / lines.len() + 2);
        assert!(PlainRun::of(&lines).may_go_on, "{name} is plain");
        let flood = &lines[..CHECKPOINT];
        group.throughput(Throughput::Bytes(flood.len() as u64));
        group
            .bench_function(format!("{name}, scan"), |b| b.iter(|| PlainRun::of(black_box(flood))));
        group.bench_function(format!("{name}, scan and checkpoint"), |b| {
            let mut screen = Screen::new(80, 24, Options::default());
            b.iter(|| {
                let run = PlainRun::of(black_box(flood)).length;
                assert!(screen.skip(&flood[..run], true, usize::MAX).is_some());
                screen.snapshot(usize::MAX, usize::MAX).bytes.len()
            });
        });
        group.bench_function(format!("{name}, look at it"), |b| {
            b.iter_batched(
                || {
                    let mut screen = Screen::new(80, 24, Options::default());
                    let skipped = screen.skip(flood, true, usize::MAX).unwrap_or(0);
                    (screen, skipped)
                },
                |(mut screen, skipped)| {
                    screen.feed(&flood[skipped..], &mut Vec::new());
                    screen
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn snapshot(c: &mut Criterion) {
    let mut group = c.benchmark_group("screen_snapshot");
    for lines in [0, 1_000, 10_000] {
        let screen = filled(lines);
        let bytes = screen.snapshot(lines, usize::MAX).bytes;
        println!("snapshot with {lines} lines: {} KiB", bytes.len() / 1024);
        group.bench_function(format!("take {lines}"), |b| {
            b.iter(|| screen.snapshot(lines, usize::MAX))
        });
        group.bench_function(format!("restore {lines}"), |b| {
            b.iter_batched(
                || (),
                |()| Screen::restore(80, 24, Options { scrollback: lines }, black_box(&bytes)),
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("take 10000 into 512 KiB", |b| {
        let screen = filled(10_000);
        b.iter(|| screen.snapshot(10_000, 512 * 1024));
    });
    group.finish();
}

/// Resident memory, by many screens at once.
fn memory(_: &mut Criterion) {
    for (lines, count) in [(0, 1000), (1_000, 50), (10_000, 10)] {
        let before = resident();
        let screens: Vec<Screen> = (0..count).map(|_| filled(lines)).collect();
        let each = resident().saturating_sub(before) / count as u64;
        println!("memory of a screen with {lines} lines: {each} KiB");
        drop(screens);
    }
}

/// KiB of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

criterion_group!(benches, memory, feed, flood, snapshot);
criterion_main!(benches);
