//! What a change of state costs before anything is written.
#![allow(missing_docs)]

use chrono::DateTime;
use criterion::{Criterion, criterion_group, criterion_main};
use stayd::lifecycle::{Event, Lifecycle, Now, Timeouts};
use std::hint::black_box;

fn transition(c: &mut Criterion) {
    let now = Now { wall: DateTime::from_timestamp_nanos(0), boot_ms: 1 };
    let timeouts = Timeouts { idle_s: Some(1800), first_attach_s: None, ..Timeouts::default() };
    let (mut life, _) = Lifecycle::new(timeouts, now);
    let mut events = [Event::Attached, Event::Detached].into_iter().cycle();
    c.bench_function("lifecycle/one transition", |b| {
        b.iter(|| {
            // The cycle never ends.
            let event = events.next().unwrap_or(Event::Attached);
            life.apply(black_box(event), black_box(now))
        });
    });
}

criterion_group!(benches, transition);
criterion_main!(benches);
