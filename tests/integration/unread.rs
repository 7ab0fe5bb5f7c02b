//! Large answers that nobody reads, or reads late, take the server little memory.

use crate::support::{DEADLINE, Server, Wire, soon};
use serde_json::json;
use std::io::{ErrorKind, Read};
use std::time::Instant;

const MIB: u64 = 1 << 20;

/// A line is its number and has eight bytes.
const LINE: usize = 8;
const LINES: usize = 1_100_000;

/// A request with the owner's token, of whose answer nothing has been read.
fn asked(server: &Server, path: &str) -> Wire {
    let mut wire = Wire::open(server);
    wire.send("GET", path, &[&format!("Authorization: Bearer {}", server.token())], "");
    wire
}

/// A session that has printed more than its ring holds, and prints as much again once
/// something is typed.
async fn full_ring() -> (Server, String) {
    let ring = (8 * MIB).to_string();
    let server = Server::start_with(&["--ring-bytes", &ring, "--idle-ring-bytes", &ring]).await;
    let script = format!(
        "stty -echo -opost; seq -w {LINES}; read -r _; seq -w {} {}; sleep 1000",
        LINES + 1,
        2 * LINES
    );
    let id = server.api().run(&script).await;
    printed(&server, &id, LINES).await;
    (server, id)
}

async fn printed(server: &Server, id: &str, lines: usize) {
    let start = Instant::now();
    while server.api().session(id).await["offset"].as_u64().unwrap() < (lines * LINE) as u64 {
        assert!(start.elapsed() < DEADLINE * 4, "it prints");
    }
}

/// Whether these are the lines from this offset on.
fn are_lines(bytes: &[u8], offset: usize) -> bool {
    let first = offset / LINE;
    let count = bytes.len() / LINE + 2;
    let lines: String = (first..first + count).map(|line| format!("{:07}\n", line + 1)).collect();
    lines.as_bytes()[offset % LINE..].starts_with(bytes)
}

#[actix_web::test]
async fn output_that_nobody_reads_takes_little_memory() {
    let (server, id) = full_ring().await;
    let path = format!("/api/v1/sessions/{id}/output");
    let before = server.rss_kib();
    let mut unread: Vec<Wire> = (0..12).map(|_| asked(&server, &path)).collect();
    for wire in &mut unread {
        let head = wire.head();
        assert_eq!(head.status, 200);
        let length: u64 = head.header("content-length").expect("its length").parse().unwrap();
        assert!(length > 7 * MIB, "{length}");
    }
    let after = server.rss_kib();
    eprintln!("12 unread outputs of 8 MiB: {before} to {after} KiB");
    // The ring itself is mapped, and counts once it is read.
    assert!(after < before + ((40 * MIB) >> 10), "{before} to {after} KiB");
    drop(unread);

    let whole = server.api().get(&path).await;
    let offset: usize =
        whole.headers.get("x-stayd-offset").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(offset + whole.bytes.len(), LINES * LINE);
    assert!(are_lines(&whole.bytes, offset));
}

#[actix_web::test]
async fn output_breaks_off_where_the_ring_overtakes_it() {
    let (server, id) = full_ring().await;
    let mut wire = asked(&server, &format!("/api/v1/sessions/{id}/output"));
    let head = wire.head();
    let number = |name: &str| -> usize { head.header(name).unwrap().parse().unwrap() };
    let (offset, length) = (number("x-stayd-offset"), number("content-length"));
    server.api().post(&format!("/api/v1/sessions/{id}/input"), "\n").await;
    printed(&server, &id, 2 * LINES).await;
    let mut bytes = Vec::new();
    let end = wire.rest().read_to_end(&mut bytes).map_err(|error| error.kind());
    assert_ne!(end, Err(ErrorKind::WouldBlock), "the connection stays, {} bytes", bytes.len());
    eprintln!("{} of {length} bytes came before it broke off", bytes.len());
    assert!(!bytes.is_empty() && bytes.len() < length, "{} of {length}", bytes.len());
    assert!(are_lines(&bytes, offset));
}

#[actix_web::test]
async fn lists_that_nobody_reads_share_their_room() {
    let server = Server::start().await;
    let api = server.api();
    // JSON has six letters for each.
    let argument = "\u{1}".repeat(40_000);
    for _ in 0..40 {
        api.create(json!({ "command": ["true", argument] })).await;
    }
    let small = api.create(json!({ "name": "small", "profile": "bash" })).await;
    soon("their ends", async {
        let ended = "/api/v1/sessions?status=TERMINATED&limit=1000";
        while api.get(ended).await.json()["sessions"].as_array().unwrap().len() < 40 {}
    })
    .await;
    let path = "/api/v1/sessions?all=true&limit=1000";
    let whole = api.get(path).await;
    assert!(whole.bytes.len() as u64 > 9 * MIB, "{}", whole.bytes.len());
    let whole = whole.json();
    assert_eq!(whole["sessions"].as_array().unwrap().len(), 41);
    assert!(whole["next"].is_null());

    let before = server.rss_kib();
    let mut unread: Vec<Wire> = (0..24).map(|_| asked(&server, path)).collect();
    let mut most = server.rss_kib();
    let (mut told, mut refused) = (0, 0);
    for wire in &mut unread {
        let head = wire.head();
        most = most.max(server.rss_kib());
        match head.status {
            200 => told += 1,
            503 => {
                refused += 1;
                assert!(head.header("retry-after").is_some());
            }
            other => panic!("{other}"),
        }
    }
    // A small list is told all the same.
    let found = api.get("/api/v1/sessions?all=true&name=small").await.ok(200);
    assert_eq!(found["sessions"][0]["id"], small["id"]);
    eprintln!("24 unread lists, {told} told: {before} to {most} KiB");
    assert!(most < before + ((130 * MIB) >> 10), "{before} to {most} KiB");
    assert!(told >= 4 && refused >= 10, "{told} {refused}");

    drop(unread);
    soon("a list, with the room that this makes", async {
        while api.get(path).await.status != 200 {}
    })
    .await;
}
