//! What an idle session keeps of its output, and how everybody who reads old output finds the rest
//! gone.

use crate::cli::verb;
use crate::recording::cast::recording;
use crate::support::{Api, Server, Terminal, Wire, soon};
use serde_json::{Value, json};
use std::fs::metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Bytes that an idle session keeps, unless set.
const KEPT: u64 = 64 << 10;
const PAGE: u64 = 4096;
/// What a ring has beside the output that is kept: two pages of words, the pages in which the output
/// begins and ends, and two that were made for the next read.
const BESIDE: u64 = 6 * PAGE;

/// A line of the flood, with its end.
const LINE: usize = 9;

/// Lines of a flood.
fn lines(from: usize, to: usize) -> String {
    (from..=to).map(|line| format!("{line:07}\r\n")).collect()
}

/// A script that prints so many lines at once, and then so many at each line of its input.
fn flood(first: usize, each: usize) -> String {
    format!(
        "stty -echo; n=0; more() {{ seq -f %07.0f $((n + 1)) $((n + $1)); n=$((n + $1)); }}; \
         more {first}; while read -r _; do more {each}; done"
    )
}

/// The first offset that can still be read.
async fn oldest(api: &Api, id: &str) -> u64 {
    let output = api.get(&format!("/api/v1/sessions/{id}/output")).await;
    let offset = output.headers.get("x-stayd-offset").expect("an offset");
    offset.to_str().unwrap().parse().expect("a number")
}

async fn printed(api: &Api, id: &str, bytes: usize) {
    soon("the output", async {
        while api.session(id).await["offset"] != bytes as u64 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until all but the end of so much output is gone.
async fn discarded(api: &Api, id: &str, bytes: usize) -> u64 {
    let expected = (bytes as u64 - KEPT) / PAGE * PAGE;
    soon("less output", async {
        while oldest(api, id).await != expected {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    expected
}

/// The memory of the largest ring of a server's holder.
fn ring_memory(server: &Server) -> u64 {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", server.holder_pid())).expect("descriptors");
    let is_ring = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("stayd-ring"))
    };
    let rings = fds.flatten().map(|entry| entry.path()).filter(is_ring);
    rings.map(|ring| metadata(ring).expect("its size").blocks() * 512).max().expect("a ring")
}

/// Waits until the largest ring takes no more than what is kept. A holder says that output is gone
/// before it gives its pages back.
async fn pages_given_back(server: &Server, kept: u64) {
    soon("pages given back", async {
        while ring_memory(server) > kept + BESIDE {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

async fn start(server: &Server, more: Value, script: &str) -> String {
    let mut body = json!({ "command": ["bash", "-c", script] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.api().create(body).await["id"].as_str().expect("an id").to_owned()
}

async fn more(api: &Api, id: &str) {
    api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
}

async fn screen(api: &Api, id: &str) -> String {
    let path = format!("/api/v1/sessions/{id}/screen?format=ansi&scrollback=500");
    String::from_utf8(api.get(&path).await.bytes).unwrap()
}

#[actix_web::test]
async fn an_idle_session_keeps_the_end_of_its_output_and_every_reader_copes() {
    const FIRST: usize = 100_000;
    const EACH: usize = 300_000;
    let mut server = Server::start().await;
    let api = server.api();
    let id = start(&server, json!({ "recording": "output" }), &flood(FIRST, EACH)).await;
    let path = format!("/api/v1/sessions/{id}");
    let (mut client, _) = Terminal::attach(&server, &id, &format!("session={id}&offset=0")).await;
    client.read_to((FIRST * LINE) as u64).await;
    let (mut total, mut count) = (FIRST * LINE, FIRST);
    // Twice: beyond the ring's seam, and after the server was killed in between.
    for round in 0..2 {
        let first = discarded(&api, &id, total).await as usize;
        pages_given_back(&server, (total - first) as u64).await;
        let all = lines(1, count);

        let gone = api.get(&format!("{path}/output?offset={}", first - 1)).await;
        let gone = gone.problem(416, "offset_gone");
        assert_eq!((&gone["oldest"], &gone["head"]), (&json!(first), &json!(total)));
        let output = api.get(&format!("{path}/output")).await;
        assert!(output.bytes == all.as_bytes()[first..]);
        let logs = verb(&server, &["logs", &id]);
        assert!(logs.status.success() && logs.stdout == all.as_bytes()[first..]);
        let logs = verb(&server, &["logs", &id, "--offset", "0"]);
        assert!(!logs.status.success(), "what is gone is not silently left out");
        let wait = verb(&server, &["wait", &id, "--regex", &format!("^{count:07}$")]);
        assert!(wait.status.success(), "{wait:?}");

        // A client goes on exactly, or from a snapshot of exactly what is there.
        let of = format!("session={id}&offset=");
        let (mut exact, attached) = Terminal::attach(&server, &id, &format!("{of}{first}")).await;
        assert_eq!(attached["offset"], first);
        exact.wait_for(&lines(count, count)).await;
        assert!(exact.screen == all.as_bytes()[first..]);
        for query in [format!("{of}{}", first - 1), format!("{of}0"), String::new()] {
            let (mut late, attached) = Terminal::attach(&server, &id, &query).await;
            assert_eq!(attached["offset"], total, "{query}");
            let snapshot = late.control("snapshot").await;
            assert_eq!((&snapshot["offset"], &snapshot["complete"]), (&json!(total), &json!(true)));
            late.wait_for(&format!("{count:07}")).await;
            late.leave().await;
        }
        for protocol in ["raw.v1", "json.v1"] {
            let attach = format!("{path}/attach");
            let mut other = Terminal::open(&api, &attach, Some(protocol)).await;
            other.wait_for(&format!("{count:07}")).await;
            other.leave().await;
        }

        // The next server has the same, and goes on from the checkpoint.
        let before = screen(&api, &id).await;
        exact.leave().await;
        server.kill_and_restart().await;
        assert_eq!(oldest(&api, &id).await, first as u64);
        assert_eq!(screen(&api, &id).await, before);
        let offset = client.offset;
        (client, _) = Terminal::attach(&server, &id, &format!("{of}{offset}")).await;
        if round == 0 {
            more(&api, &id).await;
            (total, count) = (total + EACH * LINE, count + EACH);
            let from = client.offset as usize;
            soon("the rest", async {
                while client.offset < total as u64 {
                    client.next().await;
                }
            })
            .await;
            assert!(client.screen == lines(1, count).as_bytes()[from..], "exact");
        }
    }
    // The recording has all of it, and who comes after the end gets what was kept.
    let first = oldest(&api, &id).await as usize;
    api.delete(&path).await;
    api.ended(&id).await;
    let output = api.get(&format!("{path}/output")).await;
    assert!(output.bytes.starts_with(&lines(1, count).as_bytes()[first..]));
    let cast = recording(&server, &id).await;
    assert!(cast.text("o").starts_with(&lines(1, count)));
}

#[actix_web::test]
async fn what_a_client_or_a_download_lacks_is_kept() {
    const COUNT: usize = 1_500_000;
    let server = Server::start_with(&["--ring-bytes", "16777216"]).await;
    let api = server.api();
    let id = start(&server, json!({}), &flood(1, COUNT - 1)).await;
    printed(&api, &id, LINE).await;
    let path = format!("/api/v1/sessions/{id}");
    let of = format!("session={id}&offset=");
    let (client, _) = Terminal::attach(&server, &id, &format!("{of}0")).await;
    let mut client = client.without_acks();
    more(&api, &id).await;
    printed(&api, &id, COUNT * LINE).await;
    // Another one that began later is idle and has lost its output: this one has had its time.
    let others_time = async || {
        let other = start(&server, json!({}), &flood(50_000, 0)).await;
        printed(&api, &other, 50_000 * LINE).await;
        discarded(&api, &other, 50_000 * LINE).await;
        api.delete(&format!("/api/v1/sessions/{other}")).await;
    };
    others_time().await;
    assert_eq!(oldest(&api, &id).await, 0, "the client has acknowledged nothing");

    let mut wire = Wire::open(&server);
    let token = format!("Authorization: Bearer {}", server.token());
    wire.send("GET", &format!("{path}/output?offset=0"), &[&token], "");
    assert_eq!(wire.head().status, 200);
    client.say(json!({ "type": "ack", "offset": COUNT * LINE })).await;
    client.leave().await;
    others_time().await;
    let mut bytes = vec![0; COUNT * LINE];
    wire.rest().read_exact(&mut bytes).expect("all of it");
    assert!(bytes == lines(1, COUNT).as_bytes());
    drop(wire);
    let first = discarded(&api, &id, COUNT * LINE).await;
    pages_given_back(&server, (COUNT * LINE) as u64 - first).await;
}

#[actix_web::test]
async fn what_a_client_lacks_whose_connection_broke_is_kept() {
    // More than the ring has, so that whatever comes is written over the oldest.
    const FIRST: usize = 300_000;
    const EACH: usize = 60_000;
    let mut server = Server::start().await;
    let api = server.api();
    let id = start(&server, json!({}), &flood(FIRST, EACH)).await;
    let of = format!("session={id}&offset=");
    let (mut client, _) = Terminal::attach(&server, &id, &format!("{of}0")).await;
    client.read_to((FIRST * LINE) as u64).await;
    let mut count = FIRST;
    // While it is away, and while nobody serves it.
    for is_restart in [false, true] {
        let (offset, seen) = (client.offset, count);
        drop(client);
        soon("nobody is there", async {
            while api.session(&id).await["status"] != "IDLE" {
                actix_web::rt::task::yield_now().await;
            }
        })
        .await;
        for _ in 0..2 {
            count += EACH;
            more(&api, &id).await;
            printed(&api, &id, count * LINE).await;
            if is_restart {
                server.kill_and_restart().await;
            }
        }
        // Another one is idle and has lost its output: this one has had its time.
        let other = start(&server, json!({}), &flood(50_000, 0)).await;
        printed(&api, &other, 50_000 * LINE).await;
        discarded(&api, &other, 50_000 * LINE).await;

        let attached;
        (client, attached) = Terminal::attach(&server, &id, &format!("{of}{offset}")).await;
        assert_eq!(attached["offset"], offset);
        client.wait_for(&lines(count, count)).await;
        assert!(client.screen == lines(seen + 1, count).as_bytes(), "exact");
    }
}

#[actix_web::test]
async fn the_setting_says_how_much_is_kept() {
    const COUNT: usize = 100_000;
    let server = Server::start_with(&["--idle-ring-bytes", "2097152"]).await;
    let api = server.api();
    let id = start(&server, json!({}), &flood(COUNT, 0)).await;
    printed(&api, &id, COUNT * LINE).await;
    // Longer than until an idle session loses its output.
    assert!(verb(&server, &["wait", &id, "--quiet", "4000"]).status.success());
    assert_eq!(oldest(&api, &id).await, 0);
    assert!(ring_memory(&server) >= (COUNT * LINE) as u64);
}
