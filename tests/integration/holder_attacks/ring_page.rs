//! The page that the server writes, written by somebody who has lost his mind.

use super::house::House;
use super::random::Random;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Where the server's words stand: the second page, in this order.
const TAIL: u64 = 0;
const WAKE_AT: u64 = 8;
const WATCH_AT: u64 = 16;

#[test]
fn nonsense_in_the_servers_page_loses_no_byte() {
    let mut house = House::new();
    let witness = house.witness();
    let page = 4096.max(nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap());
    let ring = ring_of(&house);
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
            ring.write_all_at(&value.to_ne_bytes(), page as u64 + word).unwrap();
        }
        // What an honest server would have there.
        ring.write_all_at(&tail.to_ne_bytes(), page as u64 + TAIL).unwrap();
        rounds += 1;
    }
    eprintln!("{rounds} rounds");
    witness.goes_on();
    witness.check(&mut house);
}

/// The one ring that the holder has, by a descriptor of our own.
fn ring_of(house: &House) -> File {
    let open = std::fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().flatten();
    let ring = open.map(|entry| entry.path()).find(|path| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("stayd-ring"))
    });
    OpenOptions::new().read(true).write(true).open(ring.unwrap()).unwrap()
}
