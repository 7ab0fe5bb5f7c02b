//! Framing between server and holder.

#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use stayd_hold::holder::wire::{CheckpointMeta, Entry, InputTail, Kind, Message, encode};
use stayd_hold::id::{ClientKey, SessionId};
use std::hint::black_box;

fn wire(c: &mut Criterion) {
    let id = SessionId::generate();
    let input =
        InputTail { id, key: ClientKey::named("token", "tab"), offset: 1 << 20, bytes: b"x" };
    let sent = input.encode(Kind::Input);
    c.bench_function("wire/input: encode a keystroke", |b| {
        b.iter(|| black_box(input).encode(Kind::Input))
    });
    c.bench_function("wire/input: parse a keystroke", |b| {
        b.iter(|| {
            let message = Message::parse(black_box(&sent)).unwrap();
            assert_eq!(Kind::from_byte(message.kind), Some(Kind::Input));
            InputTail::parse(message.tail).unwrap().offset
        });
    });
    let entry = Entry {
        id,
        pid: 12345,
        start_time: 987_654,
        exit: None,
        cols: 80,
        rows: 24,
        checkpoint: Some(CheckpointMeta { offset: 1 << 30, ..CheckpointMeta::default() }),
        checkpoint_bytes: 100 << 10,
    };
    let blob = [b'x'; 300];
    let mut out = Vec::new();
    c.bench_function("wire/entry: encode", |b| {
        b.iter(|| encode(&mut out, Kind::Entry, 7, Some(black_box(&entry)), &blob).unwrap());
    });
    encode(&mut out, Kind::Entry, 7, Some(&entry), &blob).unwrap();
    c.bench_function("wire/entry: parse", |b| {
        b.iter(|| Message::parse(black_box(&out)).unwrap().control::<Entry>().unwrap());
    });
}

criterion_group!(benches, wire);
criterion_main!(benches);
