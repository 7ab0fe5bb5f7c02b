//! Peers that ask and do not read.

use super::accomplice;
use super::house::House;
use nix::errno::Errno;
use stayd::holder::wire::{self, Kind, List};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SESSIONS: usize = 300;

#[test]
fn a_peer_that_never_reads_costs_neither_time_nor_memory() {
    let mut house = House::new();
    let witness = house.witness();
    house.spawn_sleepers(SESSIONS);
    let before = house.private_kib();
    let (mut list, mut stats) = (Vec::new(), Vec::new());
    wire::encode(&mut list, Kind::List, 7, Some(&List::default()), &[]).unwrap();
    wire::encode(&mut stats, Kind::Stats, 8, None::<&()>, &[]).unwrap();
    for _ in 0..20 {
        let peer = house.server();
        let start = Instant::now();
        // Until both directions have been full for a while.
        let mut full = 0;
        while full < 20 && start.elapsed() < Duration::from_secs(10) {
            for message in [&list, &stats] {
                match peer.send(message, &[]) {
                    Ok(()) => full = 0,
                    Err(Errno::EAGAIN) => full += 1,
                    Err(errno) => panic!("{errno}"),
                }
            }
            if full > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(full >= 20, "it reads although nobody reads its answers");
        witness.goes_on();
    }
    let grown = house.private_kib().saturating_sub(before);
    eprintln!("{before} KiB, {grown} KiB more");
    assert!(grown < 1024, "{grown} KiB");
    // All can be listed by the next.
    assert_eq!(house.serve(async |holder| holder.adopt().await.unwrap().len()), SESSIONS + 1);
    witness.check(&mut house);
}

/// Root may have any number of descriptors in flight, so this holder is another user's.
#[test]
fn too_many_descriptors_in_flight_do_not_keep_it_busy() {
    let nobody = 65_534;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a holder of another user needs root");
        return;
    }
    let mut house = House::with(|dir, command| {
        std::os::unix::fs::chown(dir, Some(nobody), Some(nobody)).unwrap();
        command.uid(nobody).gid(nobody);
    });
    let accomplice = |role: &str| {
        let mut command = accomplice::command(role, house.dir());
        command.uid(nobody).gid(nobody);
        command
    };
    let mut filler = accomplice("fill").spawn().unwrap();
    accomplice::wait_until_busy(&mut filler);
    let mut deaf = accomplice("deaf").stdin(Stdio::piped()).spawn().unwrap();
    accomplice::wait_until_busy(&mut deaf);
    house.limit("--nofile=40:4096");
    deaf.stdin.take().unwrap().write_all(b"!").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = house.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let ticks = house.cpu_ticks() - before;
    for mut child in [deaf, filler] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(ticks < 30, "{ticks} ticks of 10 ms in a second");
    house.assert_alive();
}
