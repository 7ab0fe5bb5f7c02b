//! The shared ring: what the holder and a reader cost beside reading a PTY (about 40 µs
//! for 4 KiB).

#![allow(missing_docs)]

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stayd_hold::ring::{CAPACITY_DEFAULT, Reader, Writer};
use std::hint::black_box;

/// What a PTY gives in one read.
const READ: u64 = 4 << 10;
/// What a client is sent in one frame.
const FRAME: u64 = 16 << 10;

fn ring(c: &mut Criterion) {
    let (fd, mut writer) = Writer::create(CAPACITY_DEFAULT, 0).unwrap();
    let reader = Reader::open(fd).unwrap();
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Bytes(READ));
    group.bench_function("publish a read and look for waiters", |b| {
        b.iter(|| {
            let room = writer.room().min(READ);
            writer.publish(black_box(room));
            black_box(writer.due());
            let _ = reader.advance_tail(u64::MAX);
        });
    });
    while writer.head() < CAPACITY_DEFAULT {
        let room = writer.room().min(READ);
        writer.buffer(room).fill(b'x');
        writer.publish(room);
        let _ = reader.advance_tail(u64::MAX);
    }
    let mut out = BytesMut::with_capacity(FRAME as usize);
    group.throughput(Throughput::Bytes(FRAME));
    let mut offset = reader.oldest();
    group.bench_function("copy a frame", |b| {
        b.iter(|| {
            out.clear();
            let read = reader.read(offset, FRAME as usize, &mut out).unwrap() as u64;
            offset = if read < FRAME { reader.oldest() } else { offset + read };
        });
    });
    group.finish();
    c.bench_function("ring/create and open", |b| {
        b.iter(|| {
            let (fd, writer) = Writer::create(CAPACITY_DEFAULT, 0).unwrap();
            black_box((Reader::open(fd).unwrap(), writer));
        });
    });
}

criterion_group!(benches, ring);
criterion_main!(benches);
