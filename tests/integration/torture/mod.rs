//! SIGKILL at any instruction loses nothing: programs print and echo while server, holder and
//! guardian are killed over and over, and both of the pair replaced by another program meanwhile.
//! Everything that comes out is compared with what went in.
//!
//! `STAYD_TORTURE_KILLS` says how often (at least 30 unless it says less),
//! `STAYD_TORTURE_SEED` repeats the choices of an earlier run. The moments themselves do
//! not repeat exactly: they depend on the machine.

#![allow(clippy::print_stdout, reason = "a long run says how far it is, and what it found")]

mod audit;
mod chance;
mod chaos;
mod churn;
mod client;
mod fleet;
mod flow;
mod pair;
mod people;
mod processes;
mod stream;
mod world;

use crate::support::{Server, soon};
use chance::Chance;
use chaos::Chaos;
use churn::Book;
use client::Client;
use pair::Upgrade;
use serde_json::json;
use std::rc::Rc;
use std::time::Instant;
use world::World;

/// Kills, unless the environment says otherwise.
const KILLS: u64 = 30;

#[actix_web::test]
async fn killed_at_any_moment_it_loses_nothing() {
    let kills = match std::env::var("STAYD_TORTURE_KILLS") {
        Ok(text) => text.parse().expect("STAYD_TORTURE_KILLS is a number"),
        Err(_) => KILLS,
    };
    let mut chance = Chance::from_environment();
    let mut server = Server::start_quiet().await;
    let api = server.api();
    let printer = start(&server, stream::PRINTER).await;
    let echo = start(&server, stream::ECHO).await;
    let world = Rc::new(World::default());
    let client = |name, session| Client::new(&world, &api, name, session);
    let (leader, straggler, typist) =
        (client("leader", &printer), client("straggler", &printer), client("typist", &echo));
    let leader = people::leader(&world, leader);
    let straggler = people::straggler(&world, straggler, chance.fork());
    let typist = people::typist(&world, typist, chance.fork());
    let chaos = async {
        let (server, world) = (&mut server, &*world);
        let (book, upgrade) = (Book::default(), Upgrade::default());
        let mut chaos = Chaos { server, world, chance, book, kills: 0, upgrade };
        let start = Instant::now();
        chaos.rage(kills).await;
        soon("all clients are back", world.are_back(3)).await;
        world.over.set(true);
        chaos.upgrade.is_over().await;
        (chaos.kills, chaos.upgrade.done, start.elapsed())
    };
    let (leader, straggler, typist, (kills, upgrades, time)) =
        futures_util::future::join4(leader, straggler, typist, chaos).await;
    for id in [&printer, &echo] {
        let ended =
            format!("SELECT status || end_reason || exit_code FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&ended, "TERMINATEDexited0").await;
    }
    println!(
        "torture: {kills} kills and {upgrades} upgrades in {time:.1?}; printed {} bytes, 0 lost; typed {} bytes, 0 lost; \
         reconnects {}, {} and {}; the straggler was passed over {} times and saw {} bytes; \
         longest from restart to the first output {:.0?}, without a holder {:.0?}",
        leader.bytes,
        typist.bytes,
        leader.reconnects,
        straggler.reconnects,
        typist.reconnects,
        straggler.skipped,
        straggler.bytes,
        world.slowest_return.get(),
        world.longest_pause.get(),
    );
}

/// Starts a program on a raw terminal; the session's id. What is typed from now on is not echoed by the
/// terminal: the shell that has made it raw is the program now.
async fn start(server: &Server, program: &str) -> String {
    let session = server.api().create(json!({ "command": stream::raw(program) })).await;
    let comm = format!("/proc/{}/comm", session["pid"]);
    soon("a raw terminal", async {
        while std::fs::read_to_string(&comm).expect("it runs").trim() != "perl" {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    session["id"].as_str().expect("an id").to_owned()
}
