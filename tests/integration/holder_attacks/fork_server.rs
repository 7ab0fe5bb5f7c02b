//! The process from which the holder forks sessions: killed, stopped, left alone.

use super::house::House;
use super::poll;
use crate::support::lives;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stayd::holder::SpawnError;

/// The fork server of a holder.
fn of(house: &House) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", house.pid());
    let children = std::fs::read_to_string(children).unwrap();
    let is_fork_server = |pid: &&str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line == b"stayd\0__fork\0" && lives(pid)
    };
    let pid = children.split_whitespace().find(is_fork_server).expect("a fork server");
    Pid::from_raw(pid.parse().unwrap())
}

#[test]
fn a_killed_one_is_replaced() {
    let mut house = House::new();
    let witness = house.witness();
    let first = of(&house);
    kill(first, Signal::SIGKILL).unwrap();
    poll("its end", || !lives(first));
    house.spawn(&["cat"]);
    assert_ne!(of(&house), first);
    witness.check(&mut house);
}

#[test]
fn a_stopped_one_costs_one_start() {
    let mut house = House::new();
    let witness = house.witness();
    kill(of(&house), Signal::SIGSTOP).unwrap();
    let refused = house.try_spawn(&["cat"]).unwrap_err();
    let timed_out = Errno::ETIMEDOUT as i32;
    let is_timeout = matches!(&refused,
        SpawnError::Step { step, errno } if step == "spawn" && *errno == timed_out);
    assert!(is_timeout, "{refused:?}");
    house.spawn(&["cat"]);
    witness.check(&mut house);
}

#[test]
fn it_ends_with_the_holder() {
    let house = House::new();
    house.spawn(&["cat"]);
    let server = of(&house);
    kill(Pid::from_raw(house.pid()), Signal::SIGKILL).unwrap();
    poll("its end", || !lives(server));
}

#[test]
fn it_holds_no_descriptor_of_a_session() {
    let house = House::new();
    house.spawn_sleepers(20);
    let open = std::fs::read_dir(format!("/proc/{}/fd", of(&house))).unwrap();
    // Its stdio, and the holder's socket.
    assert_eq!(open.count(), 4);
}
