//! The shared state as a successor finds it, whatever its predecessor was doing.

use super::account::{self, Intent, Unfinished};
use super::journal::{self, Stores};
use super::layout::BLOB_SMALL;
use super::*;
use crate::exit::Exit;
use crate::holder::ledger::QUEUE;
use crate::holder::wire::{BLOB_MAX, CheckpointMeta};
use crate::id::SessionId;
use crate::ring::{CAPACITY_MIN, Writer};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

fn nothing() -> OwnedFd {
    memfd_create(c"nothing", MFdFlags::MFD_CLOEXEC).unwrap()
}

fn shared() -> Arc<SharedState> {
    let (memory, shared) = SharedState::create().unwrap();
    Kept::record(&shared.header().fds.memory, memory);
    Arc::new(shared)
}

fn session(shared: &Arc<SharedState>, index: u32) -> Slot {
    let slot = Slot::take(shared, index).unwrap();
    let created = Created {
        id: SessionId::generate(),
        leader: Pid::from_raw(77),
        start_time: 5,
        master: nothing(),
        slave: nothing(),
        ring: Writer::create(CAPACITY_MIN, 0).unwrap().0,
        wake: nothing(),
        report: nothing(),
        process: nothing(),
    };
    slot.create(created, b"blob", 3);
    slot
}

#[test]
fn a_session_is_found_as_it_was_left() {
    let shared = shared();
    let left = session(&shared, 40);
    let id = left.id();
    let found = Slot::live(&shared).pop().unwrap();
    assert_eq!((found.index(), found.id(), found.leader()), (40, id, Pid::from_raw(77)));
    assert_eq!((found.blob(), found.asked(), found.exit()), (&b"blob"[..], Some(3), None));
    assert_eq!(found.progress(), Progress::Starting);
    let failed = Progress::Failed { step: "limits.nofile".to_owned(), errno: 13 };
    left.set_progress(&failed);
    left.set_exit(Exit::Signal(37));
    left.answered(Some(3));
    assert_eq!((found.progress(), found.exit()), (failed, Some(Exit::Signal(37))));
    assert_eq!(found.asked(), None);
    left.release();
    assert!(Slot::live(&shared).is_empty());
    // Words that a session has left behind are not the next one's.
    let next = session(&shared, 40);
    assert_eq!((next.exit(), next.progress()), (None, Progress::Starting));
    assert!(Slot::take(&shared, 1 << 14).is_err());
}

#[test]
fn a_blob_is_whole_at_every_size() {
    let shared = shared();
    let slot = session(&shared, 0);
    for length in [0, 1, BLOB_SMALL, BLOB_SMALL + 1, BLOB_MAX, BLOB_MAX, 3, 3, BLOB_MAX, 0] {
        let blob = vec![length as u8; length];
        slot.set_blob(&blob);
        assert_eq!(slot.blob(), blob);
    }
}

#[test]
fn a_checkpoint_is_the_last_one() {
    let shared = shared();
    let slot = session(&shared, 0);
    assert!(slot.checkpoint().is_none());
    for offset in 0..5 {
        let meta = CheckpointMeta { offset, cols: 80, rows: 24, ..CheckpointMeta::default() };
        slot.set_checkpoint(&meta, (offset % 2 == 0).then(|| (nothing(), offset)));
        let (found, file) = slot.checkpoint().unwrap();
        assert_eq!((found, file.map(|file| file.1)), (meta, (offset % 2 == 0).then_some(offset)));
    }
}

#[test]
fn requests_wait_once_each() {
    let shared = shared();
    let slot = session(&shared, 0);
    for request in 3..18 {
        assert!(slot.ask(request) && slot.ask(request));
    }
    assert!(slot.ask(18) && !slot.ask(19) && slot.ask(4));
    for _ in 3..=18 {
        slot.answered(slot.asked());
    }
    assert_eq!(slot.asked(), None);
}

#[test]
fn a_commit_is_done_as_a_whole() {
    let shared = shared();
    let slot = session(&shared, 1);
    let ring = Writer::reopen(slot.ring().unwrap().as_fd()).unwrap();
    let stats = &shared.header().stats;
    let mut stores = Stores::default();
    stores.word(&shared, &stats.panics, 3);
    stores.word(&shared, slot.used(5).unwrap(), 4);
    stores.ring(6, 5);
    journal::commit(&shared, 1, Some(&ring), &stores);
    // As if its process had died after it was written down.
    for word in [&stats.panics, slot.used(5).unwrap()] {
        assert_ne!(word.swap(0, Relaxed), 0);
    }
    ring.store(6, 0);
    shared.header().journal.count.store(3, Relaxed);
    journal::redo(&shared).unwrap();
    assert_eq!((stats.panics.load(Relaxed), slot.used(5).unwrap().load(Relaxed)), (3, 4));
    let mut free = 0;
    let progress =
        crate::ring::InputProgress { slot: 0, assigned: None, accepted: 0, seen: 0, free: 5 };
    ring.input_stores(&progress, |word, value| free = if word == 6 { value } else { free });
    assert_eq!((free, shared.header().journal.count.load(Relaxed)), (5, 0));
}

#[test]
fn an_operation_that_was_not_noted_is_found() {
    let shared = shared();
    account::open(&shared);
    assert_eq!(account::unfinished(&shared), None);
    let operation = account::begin(&shared, Intent::Output { slot: 9, head: 1000 });
    let found = account::unfinished(&shared).unwrap();
    assert_eq!(found.intent, Intent::Output { slot: 9, head: 1000 });
    operation.done(0);
    assert_eq!(account::unfinished(&shared), None);
    // Without the kernel's counts nobody knows.
    shared.header().fds.io.store(0, Relaxed);
    account::recount(&shared);
    let _operation = account::begin(&shared, Intent::Input { slot: 1, start: 7 });
    let intent = Intent::Input { slot: 1, start: 7 };
    assert_eq!(account::unfinished(&shared), Some(Unfinished { intent, bytes: None }));
}

/// Everything that the process of the holder runs reads and writes through `account`, or says here
/// why it need not.
#[test]
fn nothing_reads_or_writes_past_the_account() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for folder in ["holder/process", "holder/shared", "ring"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let before_the_loop = ["start.rs", "guardian.rs", "pid_file.rs"];
            let of_the_account = name == "account.rs";
            if name.contains("tests") || of_the_account || before_the_loop.contains(&&*name) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let banned = [
                "unistd::read",
                "unistd::write",
                "unistd::{",
                "std::fs",
                "std::io",
                "fs::read",
                "File::",
                "read_signal",
                "uio::",
                "sendfile",
                "splice",
                "libc::read",
                "libc::write",
                "libc::pread",
                "libc::pwrite",
                "println!",
                "eprintln!",
                "print!",
            ];
            for line in text.lines() {
                let names_neither = line.contains("unistd::{")
                    && !["read", "write", "pread", "pwrite"].iter().any(|call| {
                        line.split(|c: char| !c.is_alphanumeric()).any(|word| word == *call)
                    });
                if !names_neither && banned.iter().any(|call| line.contains(call)) {
                    wrong.push(format!("{name}: {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

proptest! {
    /// However input is taken and written, the program gets it as it was typed.
    #[test]
    fn the_queue_is_a_queue(
        steps in prop::collection::vec((0usize..3 * QUEUE / 2, 0usize..3 * QUEUE / 2), 1..40),
    ) {
        let shared = shared();
        let slot = session(&shared, 0);
        let (mut queue, mut model) = (Queue::of(&slot), VecDeque::new());
        let mut next = 0_u8;
        for (typed, read) in steps {
            let bytes: Vec<u8> = (0..typed).map(|at| next.wrapping_add((at % 251) as u8)).collect();
            next = next.wrapping_add(13);
            let taken = queue.stage(&bytes);
            prop_assert_eq!(taken, typed.min(QUEUE - model.len()));
            queue.end_word().unwrap().fetch_add(taken as u64, Relaxed);
            model.extend(&bytes[..taken]);
            let mut left = read;
            while left > 0 && !queue.is_empty() {
                let count = queue.front().len().min(left);
                let front = queue.front()[..count].to_vec();
                prop_assert_eq!(front, model.drain(..count).collect::<Vec<u8>>());
                queue.written_to(queue.start() + count as u64);
                left -= count;
            }
            prop_assert_eq!(queue.len(), model.len());
        }
        slot.release();
    }
}
