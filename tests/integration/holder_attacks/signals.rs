//! Signals at the holder.

use super::house::House;
use crate::support::{Server, Terminal};
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

#[actix_web::test]
async fn a_server_goes_on_after_its_holder_was_stopped() {
    let server = Server::start().await;
    let id = server.api().run("echo up; exec cat").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    let holder = Pid::from_raw(server.holder_pid());
    kill(holder, Signal::SIGSTOP).unwrap();
    terminal.type_in("typed meanwhile\r").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    kill(holder, Signal::SIGCONT).unwrap();
    terminal.wait_for("typed meanwhile\r\ntyped meanwhile").await;
    server.api().run("exec cat").await;
    assert_eq!(Pid::from_raw(server.holder_pid()), holder);
}
