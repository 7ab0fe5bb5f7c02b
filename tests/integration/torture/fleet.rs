//! The same through a fleet: three machines with sessions, two edges that have none, three nats-servers. Any
//! process of them is killed at any moment; whoever looks on and types through an edge loses nothing.

use super::chance::Chance;
use super::client::Client;
use super::people;
use super::stream;
use super::world::World;
use super::{processes, start};
use crate::support::{DEADLINE, NatsCluster, Server, soon};
use actix_web::rt::time::sleep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Kills, unless the environment says otherwise.
const KILLS: u64 = 30;
/// Between two looks at what tells nobody that it changes.
const LOOK: Duration = Duration::from_millis(50);
/// Output that is to be seen after each kill, in bytes.
const AFTER: u64 = 256 << 10;

/// What is killed.
const VICTIMS: [Victim; 7] = [
    Victim::Edge(0),
    Victim::Node(0),
    Victim::Holder,
    Victim::OneNats,
    Victim::Guardian,
    Victim::Edge(1),
    Victim::AllNats,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Edge(usize),
    Node(usize),
    Holder,
    Guardian,
    OneNats,
    AllNats,
}

async fn member(cluster: &NatsCluster, name: &str, is_edge: bool) -> Server {
    let urls = cluster.urls().join(",");
    let mut flags = vec!["--fleet-url", &urls, "--fleet-name", name];
    if is_edge {
        flags.push("--gateway");
    }
    Server::start_with(&flags).await
}

/// Waits until a server sees so many machines.
async fn sees(server: &Server, machines: usize) {
    soon("all machines", async {
        loop {
            let nodes = server.api().get("/api/v1/nodes").await.json();
            let online = nodes["nodes"].as_array().expect("nodes").iter();
            if online.filter(|node| node["state"] == "online").count() == machines {
                return;
            }
            sleep(LOOK).await;
        }
    })
    .await;
}

/// The servers, and who kills them.
struct Raid<'a> {
    cluster: NatsCluster,
    nodes: Vec<Server>,
    edges: &'a mut [Server],
    world: &'a World,
    chance: Chance,
}

impl Raid<'_> {
    async fn rage(&mut self, kills: u64) -> Vec<(Victim, Duration)> {
        let mut waits = Vec::new();
        for number in 0..kills as usize {
            let more = self.chance.below(1 << 20);
            soon("more output", self.world.lead_passes(self.world.lead() + more)).await;
            // Each of them before any comes twice.
            let victim = match VICTIMS.get(number) {
                Some(victim) => *victim,
                None => self.chance.pick(&VICTIMS),
            };
            let (killed, from) = (Instant::now(), self.world.lead());
            self.strike(victim).await;
            soon(&format!("output after {victim:?}"), self.world.lead_passes(from + AFTER)).await;
            waits.push((victim, killed.elapsed()));
        }
        waits
    }

    async fn strike(&mut self, victim: Victim) {
        match victim {
            Victim::Edge(edge) => self.edges[edge].kill_and_restart().await,
            Victim::Node(node) => self.nodes[node].kill_and_restart().await,
            Victim::Holder => self.kill(self.nodes[0].holder_pid()).await,
            Victim::Guardian => self.kill(self.nodes[0].guardian_pid()).await,
            Victim::OneNats => {
                let one = self.chance.below(3) as usize;
                self.cluster.kill(one);
                self.cluster.restart(one).await;
            }
            Victim::AllNats => {
                self.cluster.kill_all();
                self.cluster.restart_all().await;
            }
        }
    }

    /// Kills holder or guardian; returns once there are both again.
    async fn kill(&self, pid: i32) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("SIGKILL");
        let server = &self.nodes[0];
        let start = Instant::now();
        let are_two = || {
            let (holder, guardian) = (server.holder_pid(), server.guardian_pid());
            let lives = |it: i32| it != pid && it > 0 && processes::process(it).is_some();
            holder != guardian && lives(holder) && lives(guardian)
        };
        while !are_two() {
            assert!(start.elapsed() < DEADLINE, "no new pair");
            sleep(LOOK).await;
        }
    }
}

#[actix_web::test]
async fn through_edges_nothing_is_lost_whatever_is_killed() {
    let Some(cluster) = NatsCluster::start(3).await else { return };
    let kills = match std::env::var("STAYD_TORTURE_KILLS") {
        Ok(text) => text.parse().expect("STAYD_TORTURE_KILLS is a number"),
        Err(_) => KILLS,
    };
    let mut chance = Chance::from_environment();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(member(&cluster, name, false).await);
    }
    let mut edges = [member(&cluster, "e", true).await, member(&cluster, "f", true).await];
    for edge in &edges {
        sees(edge, 5).await;
    }
    let printer = start(&nodes[0], stream::PACED).await;
    let echo = start(&nodes[0], stream::ECHO).await;
    let world = Rc::new(World::default());
    world.is_fleet.set(true);
    for id in [&printer, &echo] {
        for edge in &edges {
            let path = format!("/api/v1/sessions/{id}");
            soon("the session at the edge", async {
                while edge.api().get(&path).await.status != 200 {
                    sleep(LOOK).await;
                }
            })
            .await;
        }
    }
    let asker = Client::new(&world, &edges[0].api(), "asker", &printer);
    let typist = Client::new(&world, &edges[1].api(), "typist", &echo);
    let asker = people::asker(&world, asker);
    let typist = people::typist(&world, typist, chance.fork());
    let raid = async {
        let mut raid = Raid { cluster, nodes, edges: &mut edges, world: &world, chance };
        let begun = Instant::now();
        let waits = raid.rage(kills).await;
        world.over.set(true);
        (raid, waits, begun.elapsed())
    };
    let (asker, typist, (raid, waits, time)) =
        futures_util::future::join3(asker, typist, raid).await;
    for id in [&printer, &echo] {
        let ended =
            format!("SELECT status || end_reason || exit_code FROM sessions WHERE id = '{id}'");
        raid.nodes[0].wait_for_sql(&ended, "TERMINATEDexited0").await;
    }
    for victim in VICTIMS {
        let of = waits.iter().filter(|(it, _)| *it == victim).map(|(_, wait)| *wait);
        println!("fleet: {victim:?}, the longest until output went on: {:.1?}", of.max());
    }
    println!(
        "fleet: {kills} kills in {time:.1?}; printed {} bytes, 0 lost; typed {} bytes, 0 lost; \
         reconnects {} and {}",
        asker.bytes, typist.bytes, asker.reconnects, typist.reconnects,
    );
}
