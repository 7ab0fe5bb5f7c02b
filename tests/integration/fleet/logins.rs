//! Tests of docs/fleet.md: its commands make certificates by an authority of one's own, and an nkey logs in.

use super::doctor::{NODE, doctor, of};
use super::servers::{settings, settings_with_tls};
use crate::support::{NatsPlace, NatsServer, Server};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The block of the page with the commands of openssl.
fn openssl() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.into_iter().find(|block| block.starts_with("openssl req"));
    found.expect("the commands").to_owned()
}

#[actix_web::test]
async fn the_commands_make_an_authority_and_a_certificate_that_machines_trust() {
    let is_there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no openssl");
        return;
    }
    let place = NatsPlace::new();
    let commands = openssl();
    assert!(commands.contains("IP:10.0.0.1"), "{commands}");
    let commands = commands.replace("IP:10.0.0.1", &format!("IP:{}", place.address()));
    let mut shell = Command::new("bash");
    let output = shell.args(["-ec", &commands]).current_dir(place.dir()).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = settings("nats-tls.conf", &place);
    let Some(nats) = NatsServer::start_at(place, &text).await else { return };
    let url = nats.url_of("desk", "CHANGE-ME-desk");
    let ca = nats.place().dir().join("fleet-ca.pem");
    let desk = format!("[fleet]\nurl = [\"{url}\"]\nname = \"desk\"\nca = {ca:?}\n");
    let dir = Server::dir();
    let (checks, has_failed) = doctor(dir.path(), &desk).await;
    assert!(!has_failed && of(&checks, "fleet NATS")[0].1.contains("with TLS"), "{checks:#?}");
}

#[actix_web::test]
async fn a_machine_logs_in_with_an_nkey() {
    // Made for this test.
    const SEED: &str = "SUALI3WEREKRWO3TGTTTUN2KSREQLC6R5CIRGSVM2F5GIML7OKUY2QXUM4";
    const PUBLIC: &str = "UDTVG2JV6Z6CO6KIITCO63OE6NSRXDPSNU4YGUB6GRVQJ6IGTWTUCOXU";
    let place = NatsPlace::new();
    let text = settings_with_tls(&place);
    let by_password = "user: attic\n      password: \"CHANGE-ME-attic\"\n";
    assert!(text.contains(by_password), "{text}");
    let text = text.replace(by_password, &format!("nkey: \"{PUBLIC}\"\n"));
    let Some(nats) = NatsServer::start_at(place, &text).await else { return };
    let dir = Server::dir();
    let (seed, url) = (dir.path().join("fleet.nk"), nats.url());
    let ca = nats.place().dir().join("cert.pem");
    let attic = format!(
        "[fleet]\nurl = [\"{url}\"]\nname = \"attic\"\nca = {ca:?}\ncredentials = {seed:?}\n{NODE}\n"
    );
    let logs_in = async |text: &str| {
        std::fs::write(&seed, text).expect("a seed");
        std::fs::set_permissions(&seed, PermissionsExt::from_mode(0o600)).expect("chmod");
        doctor(dir.path(), &attic).await.0
    };
    let checks = logs_in(SEED).await;
    assert_eq!(of(&checks, "fleet rights")[0].0, "ok", "{checks:#?}");
    // The public half is none.
    let checks = logs_in(PUBLIC).await;
    let (status, detail) = of(&checks, "fleet NATS")[0];
    assert!(status == "failed" && detail.contains("fleet.credentials"), "{detail}");
}
