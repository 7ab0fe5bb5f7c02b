//! What being durable costs: on a real file in the temporary directory, with the way to
//! the writer's thread and back.
#![allow(missing_docs)]

use chrono::Utc;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use slog::{Discard, Logger, o};
use stayd::id::SessionId;
use stayd::lifecycle::{Reason, Status};
use stayd::protocol::Session;
use stayd::store::{Change, NewTransition, Row, StoreHandle};

const SESSIONS: usize = 1000;

fn change() -> Change {
    let now = Utc::now();
    let session = Session {
        profile: Some("shell".to_owned()),
        command: vec!["/bin/bash".to_owned()],
        cwd: "/home/user".to_owned(),
        status: Status::Active,
        active_connections: 1,
        pid: Some(4711),
        idle_timeout_s: Some(1800),
        ..Session::begun(SessionId::generate(), now)
    };
    let transition = NewTransition {
        at: now,
        from: Some(Status::Idle),
        to: Status::Active,
        reason: Reason::Attached.to_string(),
        active_connections: 1,
        cause: None,
    };
    let row = Row::of(session);
    Change { row, transition: Some(transition) }
}

fn store(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let system = actix::System::new();
    let store = system.block_on(async {
        StoreHandle::open(&dir.path().join("stayd.db"), Logger::root(Discard, o!()))
    });
    let store = store.expect("a new database");
    let changes: Vec<Change> = (0..SESSIONS).map(|_| change()).collect();
    changes.iter().for_each(|change| store.save(change.clone()));
    system.block_on(store.flush()).expect("written");

    let one = &changes[0];
    c.bench_function("store/one committed transition", |b| {
        b.iter_batched(
            || one.clone(),
            |change| system.block_on(store.commit(change)).expect("committed"),
            BatchSize::SmallInput,
        );
    });
    let id = one.row.session.id;
    c.bench_function("store/one touch", |b| {
        let at = Utc::now();
        b.iter(|| store.touch(id, at));
    });

    let mut group = c.benchmark_group("store/flush");
    group.throughput(Throughput::Elements(SESSIONS as u64));
    group.bench_function("1,000 touched sessions", |b| {
        b.iter(|| {
            let at = Utc::now();
            changes.iter().for_each(|change| store.touch(change.row.session.id, at));
            system.block_on(store.flush()).expect("written");
        });
    });
    group.bench_function("1,000 transitions", |b| {
        b.iter_batched(
            || changes.clone(),
            |changes| {
                changes.into_iter().for_each(|change| store.save(change));
                system.block_on(store.flush()).expect("written");
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
