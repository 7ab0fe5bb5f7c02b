//! The mistakes that people make with a first fleet, and what `stayd doctor` and the server say of each.

use super::doctor::{Checks, NODE, doctor, doctor_of, documented, documented_member, of};
use super::machines::{LOOK, member, sees};
use crate::cli::{code_and_text, verb};
use crate::support::{NatsServer, Server, soon};
use actix_web::rt::time::sleep;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// The only finding of a check: its status, and what it says.
fn the<'a>(checks: &'a Checks, check: &str) -> (&'a str, &'a str) {
    let [found] = of(checks, check)[..] else { panic!("{check}: {checks:#?}") };
    found
}

fn assert_said(checks: &Checks, check: &str, status: &str, words: &[&str]) {
    let (found, detail) = the(checks, check);
    assert_eq!(found, status, "{checks:#?}");
    for word in words {
        assert!(detail.contains(word), "{word}: {detail}");
    }
}

#[actix_web::test]
async fn a_certificate_that_is_not_trusted_and_a_server_without_tls_are_told_apart() {
    let Some(nats) = documented(&[]).await else { return };
    let dir = Server::dir();
    let desk = documented_member(&nats, "desk", "");
    let ca = nats.place().dir().join("cert.pem").display().to_string();
    let (checks, _) = doctor(dir.path(), &desk.replace(&format!("ca = \"{ca}\""), "")).await;
    let remedy = ["not trusted here", "UnknownIssuer", "in fleet.ca"];
    assert_said(&checks, "fleet NATS", "failed", &remedy);
    assert!(!the(&checks, "fleet NATS").1.contains("not reached"), "{checks:#?}");
    // Another authority's.
    let Some(other) = documented(&[]).await else { return };
    let others = other.place().dir().join("cert.pem").display().to_string();
    let (checks, _) = doctor(dir.path(), &desk.replace(&ca, &others)).await;
    assert_said(&checks, "fleet NATS", "failed", &["not trusted here", &others, "has to be"]);
    // A server without TLS.
    let Some(plain) = NatsServer::start().await else { return };
    let url = plain.url().replace("nats://", "tls://");
    let settings = format!("[fleet]\nurl = [\"{url}\"]\nname = \"desk\"\n");
    let (checks, _) = doctor(dir.path(), &settings).await;
    assert_said(&checks, "fleet NATS", "failed", &["it speaks no TLS", "write nats://"]);
}

#[actix_web::test]
async fn a_file_of_certificates_that_is_not_there_is_named_and_stops_the_start() {
    let Some(nats) = documented(&[]).await else { return };
    let ca = nats.place().dir().join("ca.pem");
    std::fs::copy(nats.place().dir().join("cert.pem"), &ca).expect("a copy");
    let desk = documented_member(&nats, "desk", "").replace("cert.pem", "ca.pem");
    let mut server = Server::start_by(Server::dir(), &desk, "exec \"$0\" \"$@\"").await;
    sees(&server, "desk", "online").await;
    std::fs::remove_file(&ca).expect("a file");
    let dir = Server::dir();
    let (checks, _) = doctor(dir.path(), &desk).await;
    let path = ca.to_str().expect("text");
    assert_said(&checks, "fleet NATS", "failed", &["fleet.ca", path, "No such file"]);
    server.kill();
    server.begin_restart();
    let says_so = |line: &serde_json::Value| {
        let line = line.to_string();
        line.contains("fleet.ca") && line.contains(path)
    };
    server.wait_for_log("the file's name", says_so).await;
    server.ended().await;
}

#[actix_web::test]
async fn a_name_that_is_not_that_of_the_user_is_told_in_one_line() {
    let Some(nats) = documented(&[]).await else { return };
    let dir = Server::dir();
    let desc = documented_member(&nats, "desk", "").replace("name = \"desk\"", "name = \"desc\"");
    let (checks, _) = doctor(dir.path(), &desc).await;
    let names = ["this machine is called desc, its user in NATS is desk", "set fleet.name"];
    assert_said(&checks, "fleet rights", "failed", &names);
    assert!(of(&checks, "fleet directory").is_empty(), "no answer can come: {checks:#?}");
    // The same for a node.
    let attik =
        documented_member(&nats, "attic", NODE).replace("name = \"attic\"", "name = \"attik\"");
    let (checks, _) = doctor(dir.path(), &attik).await;
    assert_said(&checks, "fleet rights", "failed", &["is called attik, its user in NATS is attic"]);
}

#[actix_web::test]
async fn a_node_that_is_to_be_an_edge_is_told_in_one_line() {
    let Some(nats) = documented(&[]).await else { return };
    let dir = Server::dir();
    let (checks, _) = doctor(dir.path(), &documented_member(&nats, "attic", "")).await;
    let words = ["permissions of a node", "set fleet.serve_page = false", "nats-tls.conf"];
    assert_said(&checks, "fleet rights", "failed", &words);
}

#[actix_web::test]
async fn a_node_before_the_first_edge_is_told_to_wait_for_one() {
    let Some(nats) = documented(&[]).await else { return };
    let settings = documented_member(&nats, "attic", NODE);
    let attic = Server::start_by(Server::dir(), &settings, "exec \"$0\" \"$@\"").await;
    let not_yet = "not in the directory of the fleet yet";
    soon("the connection to NATS", async {
        let why =
            async || attic.api().get("/api/v1/nodes").await.json()["disconnected_because"].take();
        while !why().await.as_str().is_some_and(|why| why.contains(not_yet)) {
            sleep(LOOK).await;
        }
    })
    .await;
    let dir = attic.state().parent().expect("its directory").to_owned();
    let (checks, has_failed) = doctor(&dir, &settings).await;
    assert_said(&checks, "fleet name", "warning", &["the first edge", "Start one"]);
    assert_said(&checks, "fleet", "warning", &[not_yet]);
    assert!(!has_failed, "{checks:#?}");
    // It does come by itself.
    let settings_of_desk = documented_member(&nats, "desk", "");
    let desk = Server::start_by(Server::dir(), &settings_of_desk, "exec \"$0\" \"$@\"").await;
    sees(&desk, "attic", "online").await;
    let (checks, _) = doctor(&dir, &settings).await;
    assert!(checks.iter().all(|(_, status, _)| status == "ok"), "{checks:#?}");
}

#[actix_web::test]
async fn two_machines_of_one_name_are_not_told_that_there_is_no_connection() {
    let Some(nats) = NatsServer::start().await else { return };
    let first = member(&nats, "desk", "").await;
    sees(&first, "desk", "online").await;
    let mut second = member(&nats, "desk", "").await;
    let is_refused = |line: &serde_json::Value| line.to_string().contains("has this one's name");
    second.wait_for_log("the refusal", is_refused).await;
    let dir = second.state().parent().expect("its directory").to_owned();
    let settings = std::fs::read_to_string(dir.join("stayd.toml")).expect("settings");
    let (checks, _) = doctor(&dir, &settings).await;
    assert_said(&checks, "fleet name", "failed", &["another machine", "is called desk"]);
    let taken = "another machine of the fleet has the name desk";
    assert_said(&checks, "fleet", "warning", &[taken]);
    let (_, text) = code_and_text(&verb(&second, &["doctor"]));
    assert!(text.contains(taken) && !text.contains("no connection"), "{text}");
    for args in [&["nodes"][..], &["run", "-d", "--node", "any", "-p", "bash"]] {
        let (_, text) = code_and_text(&verb(&second, args));
        assert!(text.contains(taken), "{text}");
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    port.local_addr().expect("its address").to_string()
}

#[actix_web::test]
async fn a_secret_that_others_may_read_is_a_warning() {
    let dir = Server::dir();
    let (config, seed) = (dir.path().join("stayd.toml"), dir.path().join("fleet.nk"));
    let chmod = |path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    let mode = |mode| {
        chmod(&config, mode).expect("chmod");
        chmod(&seed, mode).expect("chmod");
    };
    std::fs::write(&seed, "SU").expect("a seed");
    let there = nobody();
    for (settings, file) in [
        (format!("[fleet]\nurl = [\"nats://u:secret@{there}\"]\nname = \"desk\"\n"), &config),
        (
            format!(
                "[fleet]\nurl = [\"nats://{there}\"]\ncredentials = {seed:?}\nname = \"desk\"\n"
            ),
            &seed,
        ),
    ] {
        std::fs::write(&config, settings).expect("settings");
        mode(0o640);
        let (checks, _) = doctor_of(dir.path(), &config).await;
        let words = [file.to_str().expect("text"), "mode 640", "chmod go-rwx"];
        assert_said(&checks, "fleet secrets", "warning", &words);
        mode(0o600);
        let (checks, _) = doctor_of(dir.path(), &config).await;
        assert!(of(&checks, "fleet secrets").is_empty(), "{checks:#?}");
    }
}

#[actix_web::test]
async fn the_log_says_which_nats_cannot_be_used_and_why() {
    let there = nobody();
    let settings = format!("[fleet]\nurl = [\"nats://u:secret@{there}\"]\nname = \"desk\"\n");
    let mut server = Server::start_by(Server::dir(), &settings, "exec \"$0\" \"$@\"").await;
    let is_told = |line: &serde_json::Value| {
        line["msg"].as_str().is_some_and(|it| it.contains("NATS cannot be used"))
    };
    let line = server.wait_for_log("the failure", is_told).await;
    let why = line["error"].as_str().expect("a reason");
    assert!(why.contains(&there) && why.contains("Connection refused"), "{line}");
    assert!(line["msg"].to_string().contains("stayd doctor"), "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");
}
