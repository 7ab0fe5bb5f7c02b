//! A disk that is full: terminals go on, the recording says what it lacks and goes on, too.

use super::cast::{Cast, recording};
use crate::metrics::scrape;
use crate::store_faults::{Tmpfs, fill};
use crate::support::{Server, Terminal, soon};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_recording_that_begins_on_a_full_disk_lacks_nothing_that_the_ring_has() {
    let dir = Server::dir();
    let recordings = dir.path().join("state/recordings");
    let Some(_tmpfs) = Tmpfs::mount(&recordings) else { return };
    let filler = recordings.join("filler");
    fill(&filler);
    let mut server = Server::start_in(dir, Vec::new()).await;
    let body = json!({ "command": ["bash", "-c", "echo first; read"], "recording": "output" });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let refused = |line: &Value| line["part"] == "recorder" && line["level"] == "warning";
    server.wait_for_log("a word in the log", refused).await;
    let path = format!("/api/v1/sessions/{id}/recording");
    server.api().get(&path).await.problem(404, "no_recording");
    std::fs::remove_file(&filler).unwrap();
    server.wait_for_log("another", |line| line["msg"] == "a recording is written again").await;
    let input = format!("/api/v1/sessions/{id}/input");
    server.api().post(&input, "\n").await.ok(200);
    server.api().ended(&id).await;
    let cast = recording(&server, &id).await;
    assert_eq!((cast.text("o"), cast.text("m")), ("first\r\n\r\n".into(), String::new()));
}

#[actix_web::test]
async fn a_full_disk_leaves_a_gap_that_is_told() {
    let dir = Server::dir();
    let recordings = dir.path().join("state/recordings");
    let Some(_tmpfs) = Tmpfs::mount(&recordings) else { return };
    let mut server =
        Server::start_in(dir, vec![("STAYD_RING_BYTES".into(), "262144".into())]).await;
    let body = json!({ "profile": "bash", "recording": "all" });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("PS1=; echo be''fore\n").await;
    terminal.wait_for("before").await;
    recording(&server, &id).await;

    let filler = recordings.join("filler");
    fill(&filler);
    // More than the ring holds: nobody waits for a full disk for long.
    terminal.type_in("yes lost | head -c 3000000; echo du''ring\n").await;
    terminal.wait_for("during").await;
    let refused = |line: &Value| line["part"] == "recorder" && line["level"] == "warning";
    let line = server.wait_for_log("a word in the log", refused).await;
    assert!(line["msg"].as_str().unwrap().contains("cannot be written"), "{line}");
    // What can be read of it is whole.
    let torn = server.api().get(&format!("/api/v1/sessions/{id}/recording")).await;
    assert!(Cast::parse(&torn.bytes).text("o").contains("before"));

    std::fs::remove_file(&filler).unwrap();
    terminal.type_in("echo af''ter\n").await;
    terminal.wait_for("after").await;
    let cast = soon("a recording that goes on", async {
        loop {
            let cast = recording(&server, &id).await;
            if cast.text("o").contains("after") {
                return cast;
            }
        }
    })
    .await;
    let text = cast.text("o");
    assert!(text.contains("before") && text.contains("lost\r\n"), "{}", text.len());
    let gaps = cast.events.iter().filter(|(_, code, _)| code == "m");
    let lost: Vec<u64> = gaps
        .map(|(_, _, told)| {
            let number = told.strip_prefix("gap: ").and_then(|told| told.strip_suffix(" bytes"));
            number.expect("a gap").parse().expect("a number")
        })
        .collect();
    // The program may print more while it is found out how much is lost.
    assert!(!lost.is_empty(), "{text}");
    let lost: u64 = lost.iter().sum();
    let printed = server.api().session(&id).await["offset"].as_u64().unwrap();
    assert_eq!(text.len() as u64 + lost, printed);
    assert_eq!(scrape(&server).await["stayd_recording_gaps_bytes_total"], lost as f64);
    assert!(cast.text("i").ends_with("echo af''ter\n"), "{}", cast.text("i"));
}
