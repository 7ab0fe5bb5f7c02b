//! The metrics of a fleet and of the streams between its machines.

use super::machines::{bash, sees, two};
use crate::metrics::{Samples, scrape, until};
use crate::support::{Server, Terminal, dial, soon};
use serde_json::json;

fn of(name: &str) -> String {
    format!("stayd_relay_{name}")
}

fn closed(samples: &Samples, reason: &str) -> f64 {
    let name = format!("stayd_relay_closed_total{{reason=\"{reason}\"}}");
    samples.get(&name).copied().unwrap_or_default()
}

#[actix_web::test]
async fn a_server_without_a_fleet_has_none_of_them() {
    let server = Server::start().await;
    let samples = scrape(&server).await;
    let names: Vec<&String> = samples
        .keys()
        .filter(|it| it.starts_with("stayd_fleet") || it.starts_with("stayd_relay"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[actix_web::test]
async fn what_passes_between_machines_is_counted() {
    let Some((mut nats, desk, mut attic)) = two("").await else { return };
    let api = desk.api();
    let id = api.create(bash("attic")).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/sessions/{id}");
    let (mut terminal, _) = Terminal::attach(&desk, &id, "client=tab").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    assert_eq!(scrape(&desk).await[&of("streams")], 1.0);
    terminal.leave().await;

    // Both ends have counted the same once all streams are over.
    let over = |samples: &Samples| samples[&of("streams")] == 0.0;
    let edge = until(&desk, "without streams", over).await;
    let node = until(&attic, "without streams", over).await;
    for (there, here) in
        [("in_bytes_total", "out_bytes_total"), ("out_bytes_total", "in_bytes_total")]
    {
        assert!(edge[&of(here)] > 100.0, "{edge:#?}");
        assert_eq!(edge[&of(here)], node[&of(there)], "{here}");
    }
    for samples in [&edge, &node] {
        let opened = samples[&of("opened_total")];
        assert_eq!((opened, closed(samples, "orderly")), (2.0, 2.0), "{samples:#?}");
        assert!(samples[&of("messages_in_total")] > 4.0, "{samples:#?}");
        assert!(samples[&of("messages_out_total")] > 4.0, "{samples:#?}");
        assert_eq!(samples[&of("asked_again_total")], 0.0, "{samples:#?}");
    }

    // The machines.
    let told = |samples: &Samples| {
        samples.get("stayd_fleet_session_lines") == Some(&1.0)
            && samples.get("stayd_fleet_node_sessions{node=\"attic\"}") == Some(&1.0)
    };
    let samples = until(&desk, "a session in the directory", told).await;
    for (name, value) in [
        ("connected", 1.0),
        ("reconnects_total", 0.0),
        ("machines{state=\"online\"}", 2.0),
        ("machines{state=\"offline\"}", 0.0),
        ("node_up{node=\"attic\"}", 1.0),
        ("node_up{node=\"desk\"}", 1.0),
        ("node_sessions{node=\"desk\"}", 0.0),
    ] {
        assert_eq!(
            samples.get(&format!("stayd_fleet_{name}")),
            Some(&value),
            "{name} {samples:#?}"
        );
    }
    for name in ["heard_age_seconds", "node_heard_age_seconds{node=\"attic\"}"] {
        assert!((0.0..10.0).contains(&samples[&format!("stayd_fleet_{name}")]), "{samples:#?}");
    }
    assert!(samples["stayd_fleet_node_load{node=\"attic\"}"] >= 0.0);

    // A token that ends.
    let made = json!({ "name": "anna", "role": "controller" }).to_string();
    let made = api.post("/api/v1/tokens", made).await.ok(201);
    let anna = api.with_token(made["token"].as_str().expect("a token"));
    let attach = format!("{path}/attach?client=anna");
    let socket = dial(&anna, &attach, Some("stayd.v1")).await.expect("a WebSocket");
    assert_eq!(api.delete("/api/v1/tokens/anna").await.status, 204);
    for server in [&desk, &attic] {
        until(server, "a stream revoked", |samples| closed(samples, "revoked") == 1.0).await;
    }
    drop(socket);

    // A machine that is gone, with a stream open.
    let (terminal, _) = Terminal::attach(&desk, &id, "client=tab").await;
    attic.kill();
    // If something was just sent, its missing receipt may be noticed first.
    let is_lost =
        |samples: &Samples| closed(samples, "lost_peer") + closed(samples, "timeout") == 1.0;
    let lost = until(&desk, "a stream lost", is_lost).await;
    assert_eq!(lost[&of("streams")], 0.0);
    sees(&desk, "attic", "offline").await;
    let samples = scrape(&desk).await;
    assert_eq!(samples["stayd_fleet_node_up{node=\"attic\"}"], 0.0);
    assert_eq!(samples["stayd_fleet_machines{state=\"offline\"}"], 1.0);
    drop(terminal);

    // NATS, which comes back.
    nats.kill();
    until(&desk, "disconnected", |samples| samples["stayd_fleet_connected"] == 0.0).await;
    soon("NATS", nats.restart()).await;
    let back = |samples: &Samples| samples["stayd_fleet_connected"] == 1.0;
    let samples = until(&desk, "connected again", back).await;
    assert_eq!(samples["stayd_fleet_reconnects_total"], 1.0);
}
