//! The configuration files in docs/fleet do what they say, and the servers of the tests come back.

use crate::support::{NatsCluster, NatsPlace, NatsServer, soon};
use async_nats::jetstream::{self, kv};
use async_nats::{Client, ConnectOptions, ServerAddr};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::path::Path;
use std::time::Duration;

/// A file of docs/fleet, with the place of a test for the one it has.
pub(super) fn settings(name: &str, place: &NatsPlace) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet").join(name);
    let text = std::fs::read_to_string(path).expect("a file of docs/fleet");
    let dir = place.dir().display().to_string();
    text.replace("\"127.0.0.1:4222\"", &format!("\"{}\"", place.listen()))
        .replace("\"0.0.0.0:4222\"", &format!("\"{}\"", place.listen()))
        .replace("\"0.0.0.0:6222\"", &format!("\"{}\"", place.routes()))
        .replace("/var/lib/nats", &format!("{dir}/store"))
        .replace("/etc/nats", &dir)
}

/// nats-tls.conf for this place, with a certificate that is made for it and stands there as `cert.pem`.
pub(super) fn settings_with_tls(place: &NatsPlace) -> String {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([place.address().to_owned()]).expect("a certificate");
    std::fs::write(place.dir().join("cert.pem"), cert.pem()).expect("a file");
    std::fs::write(place.dir().join("key.pem"), signing_key.serialize_pem()).expect("a file");
    settings("nats-tls.conf", place)
}

/// A bucket, as an edge makes it.
pub(super) fn bucket(name: &str, replicas: usize) -> kv::Config {
    let nodes = name == "stayd-nodes";
    kv::Config {
        bucket: name.to_owned(),
        history: 1,
        max_age: if nodes { Duration::from_secs(10) } else { Duration::from_secs(24 * 60 * 60) },
        storage: jetstream::stream::StorageType::Memory,
        num_replicas: replicas,
        limit_markers: nodes.then_some(Duration::from_secs(10)),
        ..kv::Config::default()
    }
}

/// A connection as the user of the files; the client heeds no password in an address.
async fn connected(urls: &[String]) -> Client {
    let urls: Vec<ServerAddr> = urls.iter().map(|url| url.parse().expect("an address")).collect();
    let options = ConnectOptions::with_user_and_password("fleet".into(), "CHANGE-ME".into());
    soon("a connection", options.connect(&urls[..])).await.expect("a connection")
}

async fn put_and_get(client: &Client, replicas: usize) {
    let jetstream = jetstream::new(client.clone());
    let sessions = bucket("stayd-sessions", replicas);
    let sessions = soon("a bucket", jetstream.create_key_value(sessions)).await.expect("a bucket");
    soon("a key", sessions.put("desk.1", "{}".into())).await.expect("a key");
    let value = soon("its value", sessions.get("desk.1")).await.expect("an answer");
    assert_eq!(value.as_deref(), Some(&b"{}"[..]));
}

#[actix_web::test]
async fn the_plain_file_makes_a_server_with_a_password() {
    let place = NatsPlace::new();
    let text = settings("nats-plain.conf", &place);
    let Some(server) = NatsServer::start_at(place, &text).await else { return };
    put_and_get(&connected(&[server.url()]).await, 1).await;
    let refused = soon("an answer", ConnectOptions::new().connect(server.url())).await;
    assert!(refused.is_err(), "nobody comes in without a password");
}

#[actix_web::test]
async fn the_cluster_file_makes_three_servers_that_stand_for_each_other() {
    // The file's routes, with the addresses of this test.
    let with_routes = |place: &NatsPlace, number: usize, routes: &str| {
        let text = settings("nats-cluster.conf", place);
        let text = text.replace("server_name: nats-1", &format!("server_name: nats-{number}"));
        let mut addresses = routes.trim_matches('"').split("\", \"nats://");
        let first = addresses.next().map(|first| first.trim_start_matches("nats://"));
        let all = first.into_iter().chain(addresses).enumerate();
        all.fold(text, |text, (index, address)| {
            text.replace(&format!("nats-{}.example.org:6222", index + 1), address)
        })
    };
    let Some(mut cluster) = NatsCluster::start_with(3, with_routes).await else { return };
    let client = connected(&cluster.urls()).await;
    put_and_get(&client, 3).await;
    cluster.kill(0);
    let jetstream = jetstream::new(client.clone());
    // A request that is under way when its server dies has no answer: asked again.
    soon("a value from the other two", async {
        loop {
            let Ok(sessions) = jetstream.get_key_value("stayd-sessions").await else { continue };
            if matches!(sessions.get("desk.1").await, Ok(Some(_))) {
                break;
            }
        }
    })
    .await;
    cluster.restart(0).await;
    cluster.kill_all();
    cluster.restart_all().await;
}

#[actix_web::test]
async fn the_leaf_file_brings_another_site_to_the_main_servers_directory() {
    let main = NatsPlace::new();
    let leaves = format!("{}:17422", main.address());
    let text = format!(
        "{}leafnodes {{ listen: \"{leaves}\"\n\
         authorization {{ user: site-b, password: \"CHANGE-ME-site-b\" }} }}\n",
        settings("nats-plain.conf", &main),
    );
    let Some(main) = NatsServer::start_at(main, &text).await else { return };
    let place = NatsPlace::new();
    let text = settings("nats-leaf.conf", &place)
        .replace("tls://", "nats://")
        .replace("nats.example.org:7422", &leaves);
    let Some(leaf) = NatsServer::start_at(place, &text).await else { return };
    soon("the leaf node's connection", async {
        while main.monitor("/leafz").is_none_or(|state| state["leafnodes"] != 1) {
            actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let there = connected(&[leaf.url()]).await;
    // Each server tells the other what it answers to, some time after they are connected.
    soon("the main server's directory", async {
        while jetstream::new(there.clone()).query_account().await.is_err() {
            actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    put_and_get(&there, 1).await;
    let here = jetstream::new(connected(&[main.url()]).await);
    let sessions = soon("the bucket", here.get_key_value("stayd-sessions")).await;
    let value = soon("the value", sessions.expect("the bucket").get("desk.1")).await;
    assert_eq!(value.expect("an answer").as_deref(), Some(&b"{}"[..]));
}

#[actix_web::test]
async fn a_server_that_is_killed_comes_back_at_its_address_without_what_was_in_memory() {
    let Some(mut server) = NatsServer::start().await else { return };
    let client = connected(&[server.url()]).await;
    put_and_get(&client, 1).await;
    server.kill();
    server.restart().await;
    let jetstream = jetstream::new(connected(&[server.url()]).await);
    let sessions = soon("the bucket", jetstream.get_key_value("stayd-sessions")).await;
    let value = match sessions {
        Ok(sessions) => soon("the value", sessions.get("desk.1")).await.expect("an answer"),
        Err(_) => None,
    };
    assert_eq!(value, None, "a bucket in memory is empty or gone");
}
