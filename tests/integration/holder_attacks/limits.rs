//! Nothing left: descriptors, memory, file size.

use super::house::House;
use super::poll;
use stayd::holder::SpawnError;
use stayd::holder::wire::{Failure, FailureCode, Kind};
use stayd::id::SessionId;

fn is_limit(result: Result<stayd::holder::Held, SpawnError>) {
    match result {
        Err(SpawnError::Limit(why)) => {
            assert!(why.contains("descriptors") || why.contains("memory"))
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn without_descriptors_spawns_fail_cleanly_and_recover() {
    let mut house = House::new();
    let witness = house.witness();
    let ids = house.spawn_sleepers(6);
    // At every number of free descriptors, also where a message's own cannot be received.
    let server = house.server();
    let open = house.open_files();
    drop(server);
    poll("its end", || house.open_files() < open);
    // The next server's own.
    let full = house.next_file() + 1;
    for free in 0..14 {
        house.limit(&format!("--nofile={}:4096", full + free));
        match house.try_spawn(&["cat"]) {
            Ok(held) => {
                assert!(free > 5, "{free} are not enough");
                end(&house, held.id);
            }
            refused => is_limit(refused),
        }
        house.assert_alive();
    }
    let stats = house.serve(async |holder| holder.stats().await.unwrap());
    assert_eq!((stats.sessions, stats.malformed), (7, 0));
    // Full, and an end makes room.
    for limit in (full..full + 20).rev() {
        house.limit(&format!("--nofile={limit}:4096"));
        match house.try_spawn(&["cat"]) {
            Ok(held) => end(&house, held.id),
            refused => {
                is_limit(refused);
                break;
            }
        }
    }
    for id in ids {
        end(&house, id);
    }
    house.spawn(&["cat"]);
    witness.check(&mut house);
}

/// It waits in the backlog when there is a descriptor again, and nobody else comes.
#[test]
fn a_server_that_found_no_descriptor_is_let_in_later() {
    let mut house = House::new();
    let witness = house.witness();
    let server = house.server();
    let full = house.next_file();
    house.limit(&format!("--nofile={full}:4096"));
    let mut waiting = house.stranger();
    // It has seen the connection and has gone on.
    witness.goes_on();
    house.limit("--nofile=4096:4096");
    waiting.hello();
    drop(server);
    witness.check(&mut house);
}

#[test]
fn without_memory_a_ring_is_refused() {
    let mut house = House::new();
    let witness = house.witness();
    // Less than a ring's two mappings, and enough for what the holder needs to say no.
    house.limit(&format!("--as={}:unlimited", size(&house) + (300 << 10)));
    for _ in 0..50 {
        is_limit(house.try_spawn(&["cat"]));
        house.assert_alive();
    }
    house.limit("--as=unlimited:unlimited");
    house.spawn(&["cat"]);
    witness.check(&mut house);
}

#[test]
fn without_any_memory_what_grows_is_refused() {
    let mut house = House::new();
    let witness = house.witness();
    let ids = house.spawn_sleepers(200);
    house.limit(&format!("--as={}:unlimited", size(&house)));
    house.serve(async |holder| {
        for id in ids {
            // Their place is reserved.
            holder.set_blob(id, &[b'x'; stayd::holder::BLOB_MAX]).await.unwrap();
        }
    });
    is_limit(house.try_spawn(&["cat"]));
    house.limit("--as=unlimited:unlimited");
    house.spawn(&["cat"]);
    witness.check(&mut house);
}

/// Bytes of address space in use.
fn size(house: &House) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", house.pid())).unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn without_file_size_a_ring_is_refused() {
    let mut house = House::new();
    let witness = house.witness();
    // The kernel sends SIGXFSZ as well, whose default is death.
    house.limit("--fsize=4096:unlimited");
    let refused = house.try_spawn(&["cat"]);
    assert!(
        matches!(&refused, Err(SpawnError::Step { step, .. }) if step == "ring"),
        "{refused:?}"
    );
    house.limit("--fsize=unlimited:unlimited");
    house.spawn(&["cat"]);
    witness.check(&mut house);
}

fn end(house: &House, id: SessionId) {
    house.serve(async |holder| holder.signal(id, libc::SIGKILL).await.unwrap());
    let mut server = house.server();
    poll("its end", || {
        let target = stayd::holder::wire::Target { id };
        let said = server.ask(Kind::Forget, Some(&target), &[], &[]).unwrap();
        let failure: Failure = serde_json::from_value(said.json).unwrap_or_default();
        assert!(said.kind == Kind::Done || failure.code == FailureCode::Live, "{failure:?}");
        said.kind == Kind::Done
    });
}
