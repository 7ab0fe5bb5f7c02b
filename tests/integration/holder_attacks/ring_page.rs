//! The page that the server writes, written by somebody who has lost his mind.

use super::house::{House, RING};
use super::poll;
use super::random::Random;
use bytes::BytesMut;
use stayd::holder::wire::{Kind, Target};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Where the server's words stand: the second page, in this order.
const TAIL: u64 = 0;
const WAKE_AT: u64 = 8;
const WATCH_AT: u64 = 16;

#[test]
fn nonsense_in_the_servers_page_disturbs_no_flood() {
    let mut house = House::new();
    let witness = house.witness();
    let (page, ring) = (page(), ring_of(&house, witness.ring().capacity()));
    let mut random = Random::seeded();
    let start = Instant::now();
    let mut rounds = 0u64;
    while start.elapsed() < Duration::from_secs(1) {
        let tail = witness.ring().tail();
        for word in [TAIL, WAKE_AT, WATCH_AT] {
            let value = match random.below(5) {
                0 => 0,
                1 => u64::MAX,
                // Behind what the reader has let go of: must not count as going back.
                2 => random.next() % tail.max(1),
                3 => tail.wrapping_sub(1),
                // Ahead of the head.
                _ => random.next() | 1 << 40,
            };
            ring.write_all_at(&value.to_ne_bytes(), page + word).unwrap();
        }
        // What an honest server would have there.
        ring.write_all_at(&tail.to_ne_bytes(), page + TAIL).unwrap();
        rounds += 1;
    }
    eprintln!("{rounds} rounds");
    witness.goes_on();
    witness.check(&mut house);
}

#[test]
fn a_nonsensical_tail_gives_no_byte_away() {
    let mut house = House::new();
    let witness = house.witness();
    let held = house.spawn(&["seq", "1", "100000"]);
    let (reader, id) = (&held.ring, held.id);
    let mut server = house.server();
    poll("a full ring", || reader.blocked());
    // Some of it is read, so that the tail can also go back.
    let (mut output, mut cursor) = (BytesMut::new(), 0);
    while cursor < RING / 2 {
        cursor += reader.read(cursor, 4 << 10, &mut output).unwrap() as u64;
    }
    assert!(reader.advance_tail(cursor));
    server.tell(Kind::Resume, &Target { id });
    let head = cursor + RING - stayd::ring::IN_FLIGHT;
    poll("a ring that is full again", || reader.blocked() && reader.head() == head);
    let (page, ring) = (page(), ring_of(&house, RING));
    let mut random = Random::seeded();
    for _ in 0..2_000 {
        let nonsense = match random.below(4) {
            0 => random.next() % cursor,
            1 => head + 1 + random.next() % RING,
            2 => u64::MAX,
            _ => random.next() | 1 << 40,
        };
        ring.write_all_at(&nonsense.to_ne_bytes(), page + TAIL).unwrap();
        server.tell(Kind::Resume, &Target { id });
        server.ask(Kind::Stats, None::<&()>, &[], &[]).unwrap();
        assert_eq!(reader.head(), head, "after a tail of {nonsense}");
    }
    // A server that has come to its senses gets everything.
    ring.write_all_at(&cursor.to_ne_bytes(), page + TAIL).unwrap();
    poll("all of it", || {
        cursor += reader.read(cursor, 64 << 10, &mut output).unwrap() as u64;
        if reader.advance_tail(cursor) {
            server.tell(Kind::Resume, &Target { id });
        }
        reader.ended().is_some() && cursor == reader.head()
    });
    let expected: String = (1..=100_000).map(|n| format!("{n}\r\n")).collect();
    assert!(output[..] == *expected.as_bytes());
    drop(server);
    witness.check(&mut house);
}

/// Bytes before the server's words.
fn page() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap() as u64
}

/// The holder's ring of this capacity, by a descriptor of our own.
fn ring_of(house: &House, capacity: u64) -> File {
    let open = std::fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().flatten();
    let ring = open.map(|entry| entry.path()).find(|path| {
        let name = std::fs::read_link(path).unwrap_or_default();
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        name.to_string_lossy().contains("stayd-ring") && length == capacity + 2 * page()
    });
    OpenOptions::new().read(true).write(true).open(ring.unwrap()).unwrap()
}
