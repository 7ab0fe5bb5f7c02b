//! `stayd doctor` in a fleet: what it finds where all is as documented, and where something is not.

use super::machines::sees;
use super::servers::{bucket, settings_with_tls};
use crate::support::{NatsPlace, NatsServer, Server, soon};
use async_nats::jetstream;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A check of the fleet: its subject, how it went, and what was found.
pub(super) type Checks = Vec<(String, String, String)>;

/// What it finds of a fleet with these settings and this state directory, and whether anything has failed.
pub(super) async fn doctor(dir: &Path, fleet: &str) -> (Checks, bool) {
    let config = dir.join("doctor.toml");
    std::fs::write(&config, fleet).expect("settings");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).expect("chmod");
    doctor_of(dir, &config).await
}

/// As [`doctor`], with a file of settings that is there already.
pub(super) async fn doctor_of(dir: &Path, config: &Path) -> (Checks, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
    command.args(["doctor", "--json", "--config"]).arg(config);
    command.arg("--state-dir").arg(dir.join("state")).env("HOME", dir);
    let output = actix_web::rt::task::spawn_blocking(move || command.output());
    let output = soon("the doctor", output).await.expect("its end").expect("stayd runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let checks = said["checks"].as_array().expect("checks").iter();
    let checks: Checks = checks
        .map(|it| (text(&it["check"]), text(&it["status"]), text(&it["detail"])))
        .filter(|(check, ..)| check.starts_with("fleet"))
        .collect();
    let has_failed = checks.iter().any(|(_, status, _)| status == "failed");
    if has_failed {
        assert_eq!(output.status.code(), Some(1), "{checks:#?}");
    }
    (checks, has_failed)
}

pub(super) fn of<'a>(checks: &'a Checks, check: &str) -> Vec<(&'a str, &'a str)> {
    let these = checks.iter().filter(|(it, ..)| it == check);
    these.map(|(_, status, detail)| (&**status, &**detail)).collect()
}

/// The server of nats-tls.conf, with what is taken out of it.
pub(super) async fn documented(without: &[&str]) -> Option<NatsServer> {
    let place = NatsPlace::new();
    let mut text = settings_with_tls(&place);
    for line in without {
        assert!(text.contains(line), "{line}");
        text = text.replace(line, "");
    }
    NatsServer::start_at(place, &text).await
}

pub(super) fn documented_member(nats: &NatsServer, name: &str, more: &str) -> String {
    let url = nats.url_of(name, &format!("CHANGE-ME-{name}"));
    let ca = nats.place().dir().join("cert.pem");
    format!("[fleet]\nurl = [\"{url}\"]\nname = \"{name}\"\nca = {ca:?}\n{more}\n")
}

pub(super) const NODE: &str = "serve_page = false";

#[actix_web::test]
async fn where_all_is_as_documented_all_is_well() {
    let Some(nats) = documented(&[]).await else { return };
    let desk = documented_member(&nats, "desk", "");
    let attic = documented_member(&nats, "attic", NODE);
    // Before any server was started there is no directory, which is no mistake.
    let dir = Server::dir();
    let (checks, has_failed) = doctor(dir.path(), &desk).await;
    assert!(!has_failed, "{checks:#?}");
    let buckets = of(&checks, "fleet directory");
    assert!(buckets.len() == 3 && buckets.iter().all(|(it, _)| *it == "warning"), "{checks:#?}");
    assert!(buckets[0].1.contains("an edge that runs makes it within seconds"), "{checks:#?}");
    // With the server of an edge, and a node whose server is not started yet.
    let edge = Server::start_by(dir, &desk, "exec \"$0\" \"$@\"").await;
    sees(&edge, "desk", "online").await;
    let running = edge.state().parent().expect("its directory").to_owned();
    let (checks, _) = doctor(&running, &desk).await;
    assert!(checks.iter().all(|(_, status, _)| status == "ok"), "{checks:#?}");
    for check in ["fleet NATS", "fleet rights", "fleet directory", "fleet name", "fleet clock"] {
        assert!(!of(&checks, check).is_empty(), "{check}: {checks:#?}");
    }
    assert!(of(&checks, "fleet NATS")[0].1.contains("with TLS"), "{checks:#?}");
    assert!(of(&checks, "fleet name")[0].1.contains("held by"), "{checks:#?}");
    let dir = Server::dir();
    let (checks, _) = doctor(dir.path(), &attic).await;
    assert!(checks.iter().all(|(_, status, _)| status == "ok"), "{checks:#?}");
    assert_eq!(of(&checks, "fleet clock").len(), 1, "{checks:#?}");
    assert!(of(&checks, "fleet name")[0].1.contains("free"), "{checks:#?}");
    // It has taken no name: the node's server has it at once, and another one is told.
    let node = Server::start_by(dir, &attic, "exec \"$0\" \"$@\"").await;
    sees(&edge, "attic", "online").await;
    let running = node.state().parent().expect("its directory").to_owned();
    let (checks, has_failed) = doctor(&running, &attic).await;
    assert!(!has_failed, "{checks:#?}");
    let other = Server::dir();
    let (checks, has_failed) = doctor(other.path(), &attic).await;
    assert!(
        has_failed && of(&checks, "fleet name")[0].1.contains("another machine"),
        "{checks:#?}"
    );
    assert!(!nats.log().contains("Violation"), "nothing is tried that NATS refuses");
}

#[actix_web::test]
async fn a_permission_that_is_missing_is_named() {
    let taken = [
        "\"$JS.API.CONSUMER.CREATE.KV_stayd-sessions.>\"",
        "\"stayd.edge.desk.>\"",
        "\"$KV.stayd-sessions.attic.>\"",
    ];
    let Some(nats) = documented(&taken).await else { return };
    let (desk, attic) = (Server::dir(), Server::dir());
    let (checks, _) = doctor(desk.path(), &documented_member(&nats, "desk", "")).await;
    let rights = of(&checks, "fleet rights");
    assert_eq!(rights.len(), 2, "{checks:#?}");
    for (line, list) in [(taken[0], "\"publish\""), (taken[1], "\"subscribe\"")] {
        let said = |(status, detail): &(&str, &str)| {
            *status == "failed"
                && [line, list, "an edge (desk)", "nats-tls.conf"]
                    .iter()
                    .all(|it| detail.contains(it))
        };
        assert!(rights.iter().any(said), "{line}: {checks:#?}");
    }
    let (checks, _) = doctor(attic.path(), &documented_member(&nats, "attic", NODE)).await;
    let rights = of(&checks, "fleet rights");
    let [("failed", detail)] = rights[..] else { panic!("{checks:#?}") };
    assert!(detail.contains(taken[2]) && detail.contains("a node (attic)"), "{detail}");
}

#[actix_web::test]
async fn a_nats_that_is_not_as_it_should_be_is_told() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let dir = Server::dir();
    let desk = |nats: &NatsServer| {
        format!("[fleet]\nurl = [\"{}\"]\nname = \"desk\"\n", nats.url_of("u", "secret"))
    };
    // A bucket that was made by hand.
    let client = soon("a connection", async_nats::connect(nats.url())).await.expect("NATS");
    let jetstream = jetstream::new(client);
    let made = jetstream.create_key_value(bucket("stayd-sessions", 1));
    soon("a bucket", made).await.expect("a bucket");
    let (checks, has_failed) = doctor(dir.path(), &desk(&nats)).await;
    let warned = of(&checks, "fleet directory");
    let warned = warned.iter().find(|(_, detail)| detail.contains("not made as stayd")).copied();
    let Some(("warning", detail)) = warned else { panic!("{checks:#?}") };
    assert!(detail.contains("allow_rollup_hdrs is true and not false"), "{detail}");
    assert!(!has_failed, "{checks:#?}");
    // Its server is not there; one of two is.
    let Some(other) = NatsServer::start().await else { return };
    nats.kill();
    let (checks, _) = doctor(dir.path(), &desk(&nats)).await;
    let [("failed", detail)] = of(&checks, "fleet NATS")[..] else { panic!("{checks:#?}") };
    assert!(detail.contains("is not reached") && !detail.contains("secret"), "{detail}");
    let both =
        format!("[fleet]\nurl = [\"{}\", \"{}\"]\nname = \"desk\"\n", nats.url(), other.url());
    let (checks, has_failed) = doctor(dir.path(), &both).await;
    let states: Vec<&str> = of(&checks, "fleet NATS").iter().map(|it| it.0).collect();
    assert_eq!((states, has_failed), (vec!["warning", "ok"], false), "{checks:#?}");
    // A password that is wrong.
    let Some(closed) = documented(&[]).await else { return };
    let wrong = documented_member(&closed, "desk", "").replace("CHANGE-ME-desk", "not-it");
    let (checks, _) = doctor(dir.path(), &wrong).await;
    let [("failed", detail)] = of(&checks, "fleet NATS")[..] else { panic!("{checks:#?}") };
    assert!(detail.contains("refuses this machine") && !detail.contains("not-it"), "{detail}");
    // No JetStream.
    let Some(plain) = NatsServer::start_plain("").await else { return };
    let (checks, has_failed) = doctor(dir.path(), &desk(&plain)).await;
    let (status, detail) = of(&checks, "fleet directory")[0];
    assert!(has_failed && status == "failed" && detail.contains("jetstream block"), "{checks:#?}");
    // A server that is no NATS at all, which says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let mute = format!("[fleet]\nurl = [\"nats://{address}\"]\nname = \"desk\"\n");
    let (checks, has_failed) = doctor(dir.path(), &mute).await;
    assert!(has_failed && of(&checks, "fleet NATS").len() == 1, "{checks:#?}");
}
