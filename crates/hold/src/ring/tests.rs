//! Both halves in one process, over two mappings of the same memory.

use super::layout::page_size;
use super::*;
use crate::exit::Exit;
use crate::id::ClientKey;
use bytes::BytesMut;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use proptest::prelude::*;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The byte at an offset in these tests. No two neighbouring pages are alike.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn pair() -> (Writer, Reader) {
    let (fd, writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    (writer, Reader::open(fd).unwrap())
}

fn write(writer: &mut Writer, count: u64) {
    let head = writer.head();
    for (offset, byte) in (head..).zip(writer.buffer(count)) {
        *byte = byte_at(offset);
    }
    writer.publish(count);
}

#[test]
fn bytes_arrive_across_the_seam() {
    let (mut writer, reader) = pair();
    let mut out = BytesMut::new();
    let mut offset = 0;
    while offset < 5 * CAPACITY_MIN {
        let room = writer.room().min(7777);
        write(&mut writer, room);
        out.clear();
        let read = reader.read(offset, usize::MAX, &mut out).unwrap() as u64;
        assert_eq!(read, room);
        assert!((offset..).zip(&out).all(|(offset, byte)| *byte == byte_at(offset)));
        offset += read;
        assert!(!reader.advance_tail(offset));
        // The output that was given back is still there.
        reader.let_go();
        out.clear();
        assert_eq!(reader.read(offset - read, usize::MAX, &mut out), Ok(room as usize));
        assert!((offset - read..).zip(&out).all(|(offset, byte)| *byte == byte_at(offset)));
    }
    assert_eq!(reader.read(offset, 10, &mut out), Ok(0));
    assert_eq!(reader.read(offset + 1, 10, &mut out), Ok(0));
}

#[test]
fn the_writer_stays_behind_the_tail() {
    let (mut writer, reader) = pair();
    let readable = CAPACITY_MIN - IN_FLIGHT;
    write(&mut writer, readable);
    assert_eq!(writer.room(), 0);
    assert!(writer.block());
    assert!(reader.blocked());
    // It is not worth it before a quarter is free.
    assert!(!reader.advance_tail(CAPACITY_MIN / 4 - 1));
    assert!(!writer.resumable());
    assert!(reader.advance_tail(CAPACITY_MIN / 4));
    assert!(writer.resumable());
    writer.unblock();
    assert!(!reader.advance_tail(u64::MAX));
    assert_eq!((reader.tail(), writer.room()), (readable, readable));
    // Room that is made while the writer is blocking is not overlooked.
    assert!(!writer.block());
    assert!(!reader.blocked());
}

#[test]
fn a_tail_that_makes_no_sense_is_not_believed() {
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let map = map::open(std::os::fd::AsFd::as_fd(&fd), map::Side::Server).unwrap();
    write(&mut writer, 1000);
    for tail in [1001, u64::MAX] {
        map.server().tail.store(tail, Ordering::SeqCst);
        assert_eq!(writer.room(), CAPACITY_MIN - IN_FLIGHT - 1000);
    }
    map.server().tail.store(600, Ordering::SeqCst);
    assert_eq!(writer.room(), CAPACITY_MIN - IN_FLIGHT - 400);
    map.server().tail.store(0, Ordering::SeqCst);
    assert_eq!(writer.room(), CAPACITY_MIN - IN_FLIGHT - 400);
}

#[test]
fn who_falls_behind_is_told_and_gets_nothing() {
    let (mut writer, reader) = pair();
    for _ in 0..4 {
        let room = writer.room().min(IN_FLIGHT);
        write(&mut writer, room);
        let _ = reader.advance_tail(u64::MAX);
    }
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(reader.read(reader.oldest() - 1, 10, &mut out), Err(Overtaken));
    assert_eq!(&out[..], b"before");
    assert_eq!(reader.read(reader.oldest(), 10, &mut out), Ok(10));
}

/// A writer at full speed, and readers of different speeds: each byte that is read is the one at
/// its offset.
#[test]
fn no_reader_ever_sees_a_wrong_byte() {
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let reader = Reader::open(&fd).unwrap();
    let done = AtomicBool::new(false);
    let overtaken = AtomicU64::new(0);
    thread::scope(|scope| {
        for (max, slow) in [(1 << 20, false), (4096, false), (1, true), (1 << 14, true)] {
            let (reader, done, overtaken) = (&reader, &done, &overtaken);
            scope.spawn(move || {
                let (mut offset, mut out) = (0, BytesMut::new());
                while !done.load(Ordering::Relaxed) {
                    out.clear();
                    match reader.read(offset, max, &mut out) {
                        Ok(read) => {
                            for (at, byte) in (offset..).zip(&out) {
                                assert_eq!(*byte, byte_at(at), "at {at}");
                            }
                            offset += read as u64;
                        }
                        Err(Overtaken) => {
                            overtaken.fetch_add(1, Ordering::Relaxed);
                            offset = reader.oldest();
                        }
                    }
                    if slow {
                        thread::yield_now();
                    }
                }
            });
        }
        while writer.head() < 16 << 20 {
            let _ = reader.advance_tail(u64::MAX);
            let room = writer.room().min(4321);
            write(&mut writer, room);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(overtaken.into_inner() > 0, "nobody was overtaken, so nothing was tried");
}

/// One byte at a time, and the next only when the reader has it, so that each is published while
/// the reader is about to wait: a single lost wake-up stalls the test.
#[test]
fn no_wake_up_is_lost() {
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let reader = Reader::open(&fd).unwrap();
    let (wake, woken) = channel();
    let rounds = 200_000;
    thread::scope(|scope| {
        let reader = &reader;
        let waiting = scope.spawn(move || {
            let mut at = 0;
            while at < rounds {
                if reader.head() > at {
                    at += 1;
                    let _ = reader.advance_tail(at);
                    continue;
                }
                reader.request_wake(at + 1);
                // A wake-up of an earlier round may still be pending; then the reader checks once
                // more.
                if reader.head() <= at {
                    woken.recv_timeout(Duration::from_secs(20)).expect("a lost wake-up");
                }
            }
        });
        while writer.head() < rounds && !waiting.is_finished() {
            if reader.tail() == writer.head() {
                write(&mut writer, 1);
                if writer.due().wake {
                    // The receiver is gone only if it has failed.
                    let _ = wake.send(());
                }
            }
        }
    });
}

#[test]
fn a_request_is_answered_once_and_when_it_is_due() {
    let (mut writer, reader) = pair();
    assert_eq!(writer.due(), Due::default());
    reader.request_wake(10);
    reader.request_watch(5);
    write(&mut writer, 5);
    assert_eq!(writer.due(), Due { wake: false, watch: true });
    write(&mut writer, 5);
    assert_eq!(writer.due(), Due { wake: true, watch: false });
    assert_eq!(writer.due(), Due::default());
    // The earlier of two requests counts.
    reader.request_wake(100);
    reader.request_wake(11);
    reader.request_wake(50);
    write(&mut writer, 1);
    assert!(writer.due().wake);
    assert!(!writer.anybody());
    reader.request_wake(1000);
    assert!(writer.anybody());
}

#[test]
fn words_of_the_holder_are_read() {
    let (mut writer, reader) = pair();
    let key = ClientKey::named("p", "c");
    assert_eq!((reader.input(key), reader.ended(), reader.input_free()), (None, None, 0));
    let publish = |assigned, accepted| {
        let progress = InputProgress { slot: 3, assigned, accepted, seen: 9, free: 0 };
        writer.input_stores(&progress, |word, value| writer.store(word, value));
    };
    publish(Some(key.to_bytes()), 5);
    assert_eq!(reader.input(key), Some(Input { accepted: 5, seen: 9 }));
    publish(None, 9);
    assert_eq!(reader.input(key), Some(Input { accepted: 9, seen: 9 }));
    writer.set_input_free(77);
    assert_eq!(reader.input_free(), 77);
    for exit in [Exit::Code(0), Exit::Code(255), Exit::Code(-1), Exit::Signal(9)] {
        writer.end(exit);
        assert_eq!(reader.ended(), Some(exit));
    }
}

#[test]
fn resizes_are_kept_as_far_as_the_log_goes() {
    let (mut writer, reader) = pair();
    for n in 1..=300u16 {
        write(&mut writer, 1);
        writer.stamp_resize(n, n + 1);
    }
    assert_eq!(reader.resize_count(), 300);
    let resizes = reader.resizes_since(0);
    assert_eq!(resizes.len(), 111);
    assert_eq!(resizes[110], Resize { offset: 300, cols: 300, rows: 301 });
    assert!(resizes.windows(2).all(|pair| pair[0].offset + 1 == pair[1].offset));
    assert_eq!(reader.resizes_since(298).len(), 2);
    assert!(reader.resizes_since(300).is_empty() && reader.resizes_since(u64::MAX).is_empty());
    // A caller that needs all of them learns that some are lost.
    assert_eq!(reader.all_resizes_since(188), None);
    assert_eq!(reader.all_resizes_since(189), Some(resizes));
    assert_eq!(reader.all_resizes_since(300), Some(Vec::new()));
}

#[test]
fn a_ring_of_another_layout_is_not_read() {
    let (fd, writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let known = writer.words().version.load(Ordering::SeqCst);
    for unknown in [0, known + 1, u64::MAX] {
        writer.words().version.store(unknown, Ordering::SeqCst);
        let refused = Reader::open(&fd);
        assert!(matches!(refused, Err(RingError::Foreign("unknown layout version"))), "{unknown}");
    }
}

#[test]
fn a_checkpoint_holds_the_tail() {
    let (mut writer, reader) = pair();
    assert_eq!(reader.checkpoint(), None);
    writer.hold_tail(0);
    assert_eq!((reader.checkpoint(), reader.effective_tail()), (Some(0), 0));
    let readable = CAPACITY_MIN - IN_FLIGHT;
    write(&mut writer, readable);
    assert!(writer.block());
    // Acknowledged, but without a checkpoint: nothing may be overwritten.
    assert!(!reader.advance_tail(readable));
    assert_eq!((reader.tail(), reader.effective_tail(), writer.room()), (readable, 0, 0));
    writer.hold_tail(readable - 10);
    assert_eq!((reader.effective_tail(), writer.room()), (readable - 10, readable - 10));
    assert!(writer.resumable() && reader.advance_tail(0));
    // The reverse: a checkpoint alone makes no room for unacknowledged output.
    writer.unblock();
    write(&mut writer, 100);
    writer.hold_tail(readable + 100);
    assert_eq!((reader.effective_tail(), writer.room()), (readable, readable - 100));
}

#[test]
fn a_checkpoint_stands_where_its_output_is() {
    let (mut writer, reader) = pair();
    write(&mut writer, 1000);
    assert!(writer.may_checkpoint(0) && writer.may_checkpoint(1000));
    assert!(!writer.may_checkpoint(1001) && !writer.may_checkpoint(u64::MAX));
    writer.hold_tail(600);
    for refused in [599, 1001] {
        assert!(!writer.may_checkpoint(refused));
        writer.hold_tail(refused);
        assert_eq!(reader.checkpoint(), Some(600));
    }
    assert!(writer.may_checkpoint(600));
    // A first checkpoint, with no earlier one to hold the output.
    let (mut writer, reader) = pair();
    let readable = CAPACITY_MIN - IN_FLIGHT;
    write(&mut writer, readable);
    let _ = reader.advance_tail(u64::MAX);
    write(&mut writer, 1);
    assert!(!writer.may_checkpoint(0) && writer.may_checkpoint(1));
    // The tail goes back to the checkpoint, and the output after it stays.
    writer.hold_tail(1);
    assert_eq!((reader.effective_tail(), writer.room()), (1, 0));
}

#[test]
fn what_is_no_ring_is_not_mapped() {
    for capacity in [0, 3, CAPACITY_MIN - 1, CAPACITY_MIN + 1, CAPACITY_MIN / 2, u64::MAX] {
        assert!(matches!(Writer::create(capacity, 0), Err(RingError::Capacity(_))), "{capacity}");
    }
    let (null, _) = nix::unistd::pipe().unwrap();
    assert!(Reader::open(null).is_err());
    let unsealed = memfd_create(c"x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&unsealed, CAPACITY_MIN as i64 + 8192).unwrap();
    let refused = Reader::open(&unsealed);
    assert!(matches!(refused, Err(RingError::Foreign("not sealed"))), "{refused:?}");
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&unsealed, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    let refused = Reader::open(&unsealed);
    assert!(matches!(refused, Err(RingError::Foreign("wrong magic"))), "{refused:?}");
    // And nobody can shrink a real one.
    let (fd, _writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    assert!(ftruncate(&fd, 0).is_err());
}

#[test]
fn a_new_reader_forgets_what_an_older_one_waited_for() {
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    Reader::open(&fd).unwrap().request_wake(1);
    let _reader = Reader::open(&fd).unwrap();
    write(&mut writer, 1);
    assert!(!writer.due().wake);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any mixture of writing, reading and making room yields the plain stream of bytes.
    #[test]
    fn any_mixture_is_the_plain_stream(steps in prop::collection::vec((0u64..70_000, 0u64..90_000), 1..30)) {
        let (mut writer, reader) = pair();
        let (mut offset, mut out) = (0, BytesMut::new());
        for (write_size, read_size) in steps {
            let count = writer.room().min(write_size).min(IN_FLIGHT);
            write(&mut writer, count);
            prop_assert!(reader.head() - reader.tail() <= CAPACITY_MIN - IN_FLIGHT);
            out.clear();
            // A reader at or after the tail is never overtaken.
            let read = reader.read(offset, read_size as usize, &mut out).unwrap() as u64;
            prop_assert_eq!(read, read_size.min(reader.head() - offset));
            prop_assert!((offset..).zip(&out).all(|(at, byte)| *byte == byte_at(at)));
            offset += read;
            let _ = reader.advance_tail(offset);
        }
    }

    /// Whatever is written, acknowledged and checkpointed: the output since the last checkpoint can
    /// be read, and there is room once both have reached head.
    #[test]
    fn the_output_since_a_checkpoint_is_there(
        steps in prop::collection::vec((0u64..70_000, any::<u64>(), any::<u64>()), 1..40),
        held in any::<bool>(),
    ) {
        let (mut writer, reader) = pair();
        let (mut last, mut out) = (0, BytesMut::new());
        if held {
            writer.hold_tail(0);
        }
        for (size, tail, offset) in steps {
            let count = writer.room().min(size).min(IN_FLIGHT);
            write(&mut writer, count);
            let _ = reader.advance_tail(tail % (writer.head() + 1));
            // About half of the offsets are beyond head.
            writer.hold_tail(offset % (2 * writer.head() + 1));
            let Some(checkpoint) = reader.checkpoint() else { continue };
            prop_assert!((last..=writer.head()).contains(&checkpoint));
            last = checkpoint;
            out.clear();
            let read = reader.read(checkpoint, usize::MAX, &mut out);
            prop_assert_eq!(read, Ok((writer.head() - checkpoint) as usize));
            prop_assert!((checkpoint..).zip(&out).all(|(at, byte)| *byte == byte_at(at)));
        }
        let _ = reader.advance_tail(u64::MAX);
        writer.hold_tail(writer.head());
        prop_assert_eq!(writer.room(), CAPACITY_MIN - IN_FLIGHT);
    }
}

/// The memory of a ring in bytes.
fn allocated(fd: &OwnedFd) -> u64 {
    fstat(fd).unwrap().st_blocks as u64 * 512
}

#[test]
fn discarded_output_is_gone_and_its_memory_free() {
    let page_bytes = page_size() as u64;
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let reader = Reader::open(&fd).unwrap();
    let readable = CAPACITY_MIN - IN_FLIGHT;
    let mut out = BytesMut::new();
    let mut check = |reader: &Reader, oldest: u64| {
        assert_eq!(reader.oldest(), oldest);
        out.clear();
        let read = reader.read(oldest, usize::MAX, &mut out).unwrap() as u64;
        assert_eq!(oldest + read, reader.head());
        assert!((oldest..).zip(&out).all(|(offset, byte)| *byte == byte_at(offset)));
        if let Some(gone) = oldest.checked_sub(1) {
            assert_eq!(reader.read(gone, 1, &mut out), Err(Overtaken));
        }
    };
    write(&mut writer, 50_000);
    let full = allocated(&fd);
    // Nothing goes before there is a checkpoint, and nothing that it or the tail needs.
    let _ = reader.advance_tail(50_000);
    writer.discard(fd.as_fd(), u64::MAX).unwrap();
    check(&reader, 0);
    writer.hold_tail(20_000);
    writer.discard(fd.as_fd(), u64::MAX).unwrap();
    let page = page_of(20_000);
    check(&reader, page);
    assert_eq!(allocated(&fd), full - page);
    writer.hold_tail(50_000);
    writer.discard(fd.as_fd(), 40_000).unwrap();
    check(&reader, page_of(40_000));
    // A second time it changes nothing, and it never goes back.
    writer.discard(fd.as_fd(), 30_000).unwrap();
    check(&reader, page_of(40_000));
    // Across the seam, again and again, with the output before it overwritten or not.
    let mut head = 50_000;
    for length in [30_000, readable, 7777, 60_000, readable, readable, 4096, 50_001] {
        let mut left = length.min(writer.room());
        head += left;
        while left > 0 {
            let part = left.min(IN_FLIGHT);
            write(&mut writer, part);
            left -= part;
        }
        let _ = reader.advance_tail(head);
        writer.hold_tail(head);
        writer.discard(fd.as_fd(), head - 5000).unwrap();
        check(&reader, page_of(head - 5000));
        // Beside what is kept there are the two pages of words, and the page that it ends in.
        let kept = head - page_of(head - 5000) + 3 * page_bytes;
        assert!(allocated(&fd) <= kept, "{} of {kept} at {head}", allocated(&fd));
    }
}

/// The start of the page of this offset.
fn page_of(offset: u64) -> u64 {
    offset / page_size() as u64 * page_size() as u64
}

/// A reader sees what was written, or learns that it is gone.
#[test]
fn nobody_reads_the_zeros_of_freed_pages() {
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let reader = Reader::open(&fd).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut out = BytesMut::new();
            let mut gone = 0;
            while !done.load(Ordering::Relaxed) {
                let from = reader.oldest();
                out.clear();
                match reader.read(from, usize::MAX, &mut out) {
                    Ok(_) => assert!((from..).zip(&out).all(|(at, byte)| *byte == byte_at(at))),
                    Err(Overtaken) => gone += 1,
                }
            }
            assert!(gone < u32::MAX);
        });
        for _ in 0..20_000 {
            write(&mut writer, 5000);
            let head = writer.head();
            let _ = reader.advance_tail(head);
            writer.hold_tail(head);
            writer.discard(fd.as_fd(), head).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}
