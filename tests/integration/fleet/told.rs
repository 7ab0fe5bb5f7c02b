//! Machines of a fleet tell each other the state of their sessions, also when a server stops or dies, and say so when
//! they hear nobody.

use super::machines::{LOOK, sees, two};
use crate::cli::{code_and_text, verb};
use crate::support::{Server, soon};
use actix_web::rt::time::sleep;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Asks one server to start a session of this name on the other one.
async fn cat(desk: &Server, name: &str) {
    desk.api().create(json!({ "node": "attic", "name": name, "command": ["cat"] })).await;
}

/// The other machine's sessions as a server lists them: name and status.
async fn of_attic(desk: &Server) -> Vec<(String, String)> {
    let all = desk.api().get("/api/v1/sessions?node=attic&all=true").await.ok(200);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut all: Vec<_> = all["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|it| (text(&it["name"]), text(&it["status"])))
        .collect();
    all.sort();
    all
}

async fn until_listed(desk: &Server, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|&(name, status)| (name.to_owned(), status.to_owned())).collect();
    soon(&format!("{wanted:?}"), async {
        while of_attic(desk).await != wanted {
            sleep(LOOK).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_machine_that_goes_tells_first_how_its_sessions_have_ended() {
    let Some((_nats, desk, mut attic)) = two("").await else { return };
    for name in ["one", "two"] {
        cat(&desk, name).await;
    }
    until_listed(&desk, &[("one", "RUNNING"), ("two", "RUNNING")]).await;
    // The second end is told as the server stops.
    for word in ["attic/one", "attic/two"] {
        assert_eq!(verb(&desk, &["kill", word]).status.code(), Some(0));
    }
    assert_eq!(verb(&attic, &["stop"]).status.code(), Some(0));
    attic.stop_waiting();
    sees(&desk, "attic", "offline").await;
    until_listed(&desk, &[("one", "TERMINATED"), ("two", "TERMINATED")]).await;
    attic.restart().await;
    sees(&desk, "attic", "online").await;
    cat(&desk, "three").await;
    assert_eq!(verb(&attic, &["stop", "--all"]).status.code(), Some(0));
    attic.stop_waiting();
    sees(&desk, "attic", "offline").await;
    until_listed(&desk, &[("one", "TERMINATED"), ("three", "TERMINATED"), ("two", "TERMINATED")])
        .await;
}

#[actix_web::test]
async fn an_end_that_could_not_be_told_is_told_by_the_next_server() {
    let Some((mut nats, desk, mut attic)) = two("").await else { return };
    cat(&desk, "one").await;
    until_listed(&desk, &[("one", "RUNNING")]).await;
    // NATS is stopped and then killed: the messages that it has not read are lost, and so is its directory.
    nats.signal(Signal::SIGSTOP);
    assert_eq!(verb(&attic, &["stop", "--all"]).status.code(), Some(0));
    attic.stop_waiting();
    nats.restart().await;
    assert_eq!(of_attic(&desk).await, [("one".to_owned(), "RUNNING".to_owned())]);
    attic.restart().await;
    until_listed(&desk, &[("one", "TERMINATED")]).await;
}

#[actix_web::test]
async fn a_machine_counts_the_sessions_that_live() {
    let Some((_nats, desk, _attic)) = two("").await else { return };
    for name in ["one", "two"] {
        cat(&desk, name).await;
    }
    let counts = async |wanted: u64| {
        soon(&format!("{wanted} sessions"), async {
            loop {
                let all = desk.api().get("/api/v1/nodes").await.json();
                let of = |name: &str| {
                    let mut all = all["nodes"].as_array().expect("nodes").iter();
                    let named = all.find(|node| node["name"] == name);
                    named.map(|node| node["live_sessions"].clone())
                };
                if of("attic") == Some(wanted.into()) && of("desk") == Some(0.into()) {
                    return;
                }
                sleep(LOOK).await;
            }
        })
        .await;
    };
    let here = desk.api().create(json!({ "command": ["true"] })).await;
    counts(2).await;
    assert_eq!(verb(&desk, &["kill", "attic/one"]).status.code(), Some(0));
    counts(1).await;
    // The session that has ended is still kept, and does not count.
    desk.api().session(here["id"].as_str().expect("an id")).await;
}

#[actix_web::test]
async fn who_hears_nobody_says_so() {
    let Some((mut nats, desk, _attic)) = two("").await else { return };
    cat(&desk, "one").await;
    until_listed(&desk, &[("one", "RUNNING")]).await;
    let text_of = |server: &Server, args: &[&str]| code_and_text(&verb(server, args));
    nats.kill();
    soon("the loss", async {
        while desk.api().get("/api/v1/nodes").await.json()["connected"] == true {
            sleep(LOOK).await;
        }
    })
    .await;
    let none = "no connection to the fleet's NATS";
    let (code, text) = text_of(&desk, &["ls", "--node", "all"]);
    assert!(code == Some(0) && text.contains(none) && text.contains("attic"), "{text}");
    let (code, text) = text_of(&desk, &["run", "-d", "--node", "any", "-p", "bash"]);
    assert!(code == Some(1) && text.contains(none) && !text.contains("labels"), "{text}");

    // A server that has never heard anybody.
    let url = nats.url();
    let lonely = Server::start_with(&["--fleet-url", &url, "--fleet-name", "lonely"]).await;
    let (code, text) = text_of(&lonely, &["ls", "--node", "all"]);
    assert!(code == Some(1) && text.contains(none) && text.contains("never heard"), "{text}");
    let answer = lonely.api().get("/api/v1/nodes/attic/sessions").await;
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(answer.status == 503 && detail.contains(none), "{detail}");
}

#[actix_web::test]
async fn what_a_machine_does_not_allow_over_the_fleet_is_said_to_be_its_limit() {
    let Some((_nats, desk, _attic)) = two("").await else { return };
    cat(&desk, "one").await;
    assert_eq!(verb(&desk, &["kill", "attic/one"]).status.code(), Some(0));
    let (code, text) = code_and_text(&verb(&desk, &["rm", "--ended", "--node", "attic"]));
    assert!(code == Some(1) && text.contains("allows no more than its fleet.rights"), "{text}");
    assert!(text.contains("removed 0 sessions") && !text.contains("is kept"), "{text}");
    let (code, text) = code_and_text(&verb(&desk, &["info", "atic/one"]));
    assert!(code == Some(3) && text.contains("`stayd nodes` lists"), "{code:?} {text}");
}
