//! Signals at the holder.

use super::house::House;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stayd::holder::wire::Kind;
use std::time::Duration;

#[test]
fn signals_that_ask_for_nothing_do_nothing() {
    let mut house = House::new();
    let witness = house.witness();
    // All but those that end it on purpose, those that nobody can block, and those that
    // tell of a fault of its own.
    let spared = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGKILL,
        Signal::SIGSTOP,
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSEGV,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ];
    for signal in Signal::iterator().filter(|signal| !spared.contains(signal)) {
        kill(Pid::from_raw(house.pid()), signal).unwrap();
        let mut server = house.server();
        assert!(server.ask(Kind::Stats, None::<&()>, &[], &[]).is_some(), "{signal}");
        house.assert_alive();
    }
    witness.check(&mut house);
}

#[test]
fn stopped_for_a_second_it_goes_on() {
    let mut house = House::new();
    let witness = house.witness();
    let server = house.server();
    kill(Pid::from_raw(house.pid()), Signal::SIGSTOP).unwrap();
    let mut stats = Vec::new();
    stayd::holder::wire::encode(&mut stats, Kind::Stats, 9, None::<&()>, &[]).unwrap();
    server.send(&stats, &[]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(house.pid()), Signal::SIGCONT).unwrap();
    assert_eq!(server.receive().map(|said| said.request), Some(9));
    witness.check(&mut house);
}
