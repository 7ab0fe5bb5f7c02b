//! Connections to NATS of an edge's threads.

use super::machines::{LOOK, bash, member, sees, two};
use crate::support::{NatsServer, Server, Terminal, soon};
use actix_web::rt::time::sleep;
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::thread::available_parallelism;

/// The connections of a machine.
fn connections(nats: &NatsServer, name: &str) -> usize {
    let all = nats.monitor("/connz").expect("the connections");
    let named = |it: &&serde_json::Value| it["name"] == format!("stayd {name}");
    all["connections"].as_array().expect("connections").iter().filter(named).count()
}

/// Types into a terminal of another machine, and reads what comes of it.
async fn works(edge: &Server) {
    let id = edge.api().create(bash("attic")).await["id"].as_str().expect("an id").to_owned();
    let (mut terminal, _) = Terminal::attach(edge, &id, "client=tab").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    terminal.leave().await;
}

#[actix_web::test]
async fn a_thread_that_opens_streams_has_a_connection_of_its_own() {
    let Some((nats, desk, _attic)) = two("").await else { return };
    assert_eq!((connections(&nats, "desk"), connections(&nats, "attic")), (1, 1));
    let client = soon("a connection", async_nats::connect(nats.url())).await.expect("NATS");
    let mut first = client.subscribe("stayd.node.attic.desk.0.*").await.expect("a subscription");
    soon("the subscription", client.flush()).await.expect("sent");
    works(&desk).await;
    let of_desk = connections(&nats, "desk");
    let threads = available_parallelism().expect("processors").get();
    assert!((2..=threads + 1).contains(&of_desk), "{of_desk} connections");
    assert_eq!(connections(&nats, "attic"), 1, "who opens none needs one");
    // Messages of the first connection would come before this mark, which nobody heeds.
    client.publish("stayd.node.attic.desk.0.mark", "{}".into()).await.expect("sent");
    let next = soon("the mark", first.next()).await.expect("a message");
    assert_eq!(&*next.payload, b"{}", "no stream took the first connection");
}

#[actix_web::test]
async fn threads_share_the_first_connection_where_nats_takes_no_more() {
    let Some(nats) = NatsServer::start_with("max_connections: 2").await else { return };
    let (desk, attic) = (member(&nats, "desk", "").await, member(&nats, "attic", "").await);
    sees(&desk, "attic", "online").await;
    works(&desk).await;
    assert_eq!((connections(&nats, "desk"), connections(&nats, "attic")), (1, 1));
    drop(attic);
}

/// Starts NATS anew, which takes two connections from now on.
async fn restart_with_two(nats: &mut NatsServer) {
    nats.kill();
    let path = nats.place().dir().join("nats.conf");
    let settings = std::fs::read_to_string(&path).expect("settings");
    std::fs::write(&path, format!("max_connections: 2\n{settings}")).expect("settings");
    nats.restart().await;
}

/// Waits until both machines have their connection, and one sees the other.
async fn each_has_one(nats: &NatsServer, desk: &Server) {
    soon("the connection of each machine", async {
        while (connections(nats, "desk"), connections(nats, "attic")) != (1, 1)
            || desk.api().get("/api/v1/nodes/attic/sessions").await.status != 200
        {
            sleep(LOOK).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn threads_leave_their_connections_to_the_first_where_nats_takes_no_more_later() {
    let Some((mut nats, desk, _attic)) = two("").await else { return };
    works(&desk).await;
    assert!(connections(&nats, "desk") > 1);
    restart_with_two(&mut nats).await;
    each_has_one(&nats, &desk).await;
    works(&desk).await;
}

#[actix_web::test]
async fn threads_that_open_nothing_leave_their_connections_to_other_machines() {
    let Some((mut nats, desk, attic)) = two("").await else { return };
    works(&desk).await;
    let signal = |signal| kill(Pid::from_raw(attic.pid()), signal).expect("a signal");
    signal(Signal::SIGSTOP);
    restart_with_two(&mut nats).await;
    soon("both of one machine", async {
        while connections(&nats, "desk") < 2 {
            sleep(LOOK).await;
        }
    })
    .await;
    signal(Signal::SIGCONT);
    each_has_one(&nats, &desk).await;
    works(&desk).await;
}
