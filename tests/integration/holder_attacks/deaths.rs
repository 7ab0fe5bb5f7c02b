//! Peers that die in the middle of it, never begin, or are replaced.

use super::accomplice::{self, key, typed};
use super::house::{House, spec};
use super::poll;
use super::random::Random;
use bytes::BytesMut;
use stayd::holder::Held;
use stayd::holder::wire::{InputTail, Kind};
use stayd::id::SessionId;
use std::time::Duration;

/// Bytes of a ring that keeps all of the echo.
const ECHO: u64 = 64 << 20;

/// A session that says what it is told, and nothing else from here on.
fn echo(house: &House) -> (Held, u64) {
    let spec = spec(&["bash", "-c", "stty raw -echo; echo ready; exec cat"]);
    let held = house
        .serve(async |holder| holder.spawn(SessionId::generate(), &spec, ECHO, b"").await.unwrap());
    let mut output = BytesMut::new();
    poll("a raw terminal", || {
        output.clear();
        held.ring.read(0, 1000, &mut output).unwrap();
        output.ends_with(b"ready\n")
    });
    (held, output.len() as u64)
}

fn accepted(held: &Held) -> u64 {
    held.ring.input(key()).map_or(0, |input| input.accepted)
}

/// Everything that was accepted has been said once, in order.
fn assert_echoed_once(held: &Held, start: u64) {
    let count = accepted(held);
    poll("the whole echo", || held.ring.head() >= start + count);
    assert_eq!(held.ring.head(), start + count);
    let mut output = BytesMut::new();
    held.ring.read(start, count as usize, &mut output).unwrap();
    let expected: Vec<u8> = (0..count).map(typed).collect();
    assert!(output[..] == expected[..]);
}

#[test]
fn a_peer_may_die_at_any_moment() {
    let mut house = House::new();
    let witness = house.witness();
    let (held, start) = echo(&house);
    let mut random = Random::seeded();
    for _ in 0..100 {
        let role = format!("busy {} {}", held.id, accepted(&held));
        let mut child = accomplice::command(&role, house.dir()).spawn().unwrap();
        accomplice::wait_until_busy(&mut child);
        std::thread::sleep(Duration::from_micros(random.next() % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        // The next server: what the dead one sent has been accepted before hello is answered.
        drop(house.server());
        house.assert_alive();
    }
    let count = accepted(&held);
    eprintln!("{count} bytes of input");
    assert!(count > 0);
    assert_echoed_once(&held, start);
    witness.check(&mut house);
}

#[test]
fn what_the_old_server_sent_counts_once_for_the_new_one() {
    let mut house = House::new();
    let witness = house.witness();
    let (held, start) = echo(&house);
    let mut sent = 0;
    for _ in 0..200 {
        // Neither reads anything, and both send the same.
        let (old, new) = (house.server(), house.stranger());
        let from = accepted(&held);
        for offset in (from..from + 500).step_by(50) {
            let bytes: Vec<u8> = (offset..offset + 50).map(typed).collect();
            let input =
                InputTail { id: held.id, key: key(), offset, bytes: &bytes }.encode(Kind::Input);
            old.send(&input, &[]).unwrap();
            sent = offset + 50;
        }
        let mut new = new;
        new.hello();
        // Nothing that comes after the takeover counts.
        assert!(accepted(&held) == sent, "{} of {sent}", accepted(&held));
        let bytes: Vec<u8> = (from..sent).map(typed).collect();
        let input =
            InputTail { id: held.id, key: key(), offset: from, bytes: &bytes }.encode(Kind::Input);
        new.push(&input, &[]).unwrap();
        assert!(old.send(&input, &[]).is_err());
        new.ask(Kind::Stats, None::<&()>, &[], &[]).unwrap();
        // Else the queue would be full some day, and refuse.
        poll("the echo", || held.ring.head() >= start + sent);
    }
    assert_eq!(accepted(&held), sent);
    assert_echoed_once(&held, start);
    witness.check(&mut house);
}

#[test]
fn hundreds_that_never_say_hello_are_nothing() {
    let mut house = House::new();
    let witness = house.witness();
    let mut server = house.server();
    let before = house.open_files();
    let silent: Vec<_> = (0..500).map(|_| house.stranger()).collect();
    // The server is still heard, and few of the others are kept.
    assert!(server.ask(Kind::Stats, None::<&()>, &[], &[]).is_some());
    assert!(house.open_files() <= before + 16);
    drop(silent);
    poll("their end", || house.open_files() == before);
    witness.check(&mut house);
}
