//! What operators see: `/metrics`, request ids, and what is removed after its time.

use crate::support::{DEADLINE, Event, Server, Terminal, soon};
use actix_web::rt::time::sleep;
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};

pub(crate) type Samples = HashMap<String, f64>;

pub(crate) async fn scrape(server: &Server) -> Samples {
    let reply = server.api().get("/metrics").await;
    assert_eq!(reply.status, 200);
    let content_type = reply.headers.get("content-type").unwrap().to_str().unwrap();
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    let text = String::from_utf8(reply.bytes).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Asks until what was asked for is so: counting happens beside what is counted.
pub(crate) async fn until(server: &Server, what: &str, so: impl Fn(&Samples) -> bool) -> Samples {
    let start = Instant::now();
    loop {
        let samples = scrape(server).await;
        if so(&samples) {
            return samples;
        }
        assert!(start.elapsed() < DEADLINE, "never {what}: {samples:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn what_happens_shows_in_the_metrics() {
    let server = Server::start().await;
    let api = server.api();
    let before = scrape(&server).await;
    for (name, value) in [
        ("stayd_sessions{status=\"RUNNING\"}", 0.0),
        ("stayd_input_bytes_total", 0.0),
        ("stayd_store_healthy", 1.0),
        ("stayd_store_unaudited_total", 0.0),
        ("stayd_holder_up", 1.0),
        ("stayd_holder_panics_total", 0.0),
        ("stayd_resyncs_total", 0.0),
    ] {
        assert_eq!(before.get(name), Some(&value), "{name} in {before:#?}");
    }
    for process in ["server", "holder"] {
        let memory =
            before[&format!("stayd_process_resident_memory_bytes{{process=\"{process}\"}}")];
        assert!((1e5..1e9).contains(&memory), "{memory}");
        assert!(before[&format!("stayd_process_open_fds{{process=\"{process}\"}}")] > 3.0);
        assert!(before[&format!("stayd_process_threads{{process=\"{process}\"}}")] >= 1.0);
        assert!(
            before
                .contains_key(&format!("stayd_process_cpu_seconds_total{{process=\"{process}\"}}"))
        );
    }

    api.create(json!({ "command": ["sleep", "infinity"] })).await;
    let id = api.run("stty raw -echo; printf ready; exec cat").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("ready").await;
    // The first of it may have come as a screen.
    let output = "stayd_output_bytes_total";
    let ready = until(&server, "counted", |now| now[output] >= 5.0).await;
    terminal.type_in("12345").await;
    terminal.wait_for("12345").await;
    let samples = until(&server, "counted", |now| now[output] >= 10.0).await;
    assert_eq!(samples[output], 10.0);
    assert_eq!(samples["stayd_input_bytes_total"], 5.0);
    let sent = "stayd_sent_bytes_total";
    assert_eq!(samples[sent] - ready[sent], 5.0);
    assert_eq!(samples["stayd_sessions{status=\"RUNNING\"}"], 1.0);
    assert_eq!(samples["stayd_sessions{status=\"ACTIVE\"}"], 1.0);
    assert_eq!(samples["stayd_holder_sessions"], 2.0);
    assert_eq!(samples["stayd_connections{protocol=\"stayd.v1\"}"], 1.0);
    assert_eq!(samples["stayd_echo_seconds_count"], 1.0);
    assert!(samples["stayd_echo_seconds_sum"] < DEADLINE.as_secs_f64());
    assert!(samples["stayd_store_transaction_seconds_count"] >= 3.0);
    terminal.leave().await;
    let left = "stayd_connections{protocol=\"stayd.v1\"}";
    let samples = until(&server, "left", |now| now[left] == 0.0).await;
    assert_eq!(samples["stayd_sessions{status=\"IDLE\"}"], 1.0);
}

/// However much is printed: activity is written with a tick, four times a second.
#[actix_web::test]
async fn a_flood_makes_few_transactions() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; head -c 30000000 /dev/zero; exec cat").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    let (before, start) = (scrape(&server).await, Instant::now());
    terminal.type_in("\n").await;
    let mut chunks = 0;
    while terminal.offset < 30_000_000 {
        chunks += usize::from(matches!(terminal.next().await, Event::Bytes(_)));
        terminal.screen.clear();
    }
    let transactions = "stayd_store_transaction_seconds_count";
    let after = scrape(&server).await;
    let made = after[transactions] - before[transactions];
    // One more for the tick under way at each end.
    let most = start.elapsed().as_secs_f64() * 4.0 + 2.0;
    assert!(made >= 1.0 && made <= most, "{made} transactions, at most {most} expected");
    assert!(chunks > 1000, "{chunks} chunks");
}

#[actix_web::test]
async fn a_program_that_waits_and_a_client_that_is_brought_up_are_counted() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; exec cat /dev/zero").await;
    // It says that it has all and nothing more: so it is sent no more than its window.
    let (mut terminal, _) = Terminal::attach(&server, &id, &format!("session={id}&offset=0")).await;
    terminal.type_in("\n").await;
    until(&server, "stalled", |now| now["stayd_ring_stalls_total"] >= 1.0).await;
    // After a while nobody waits for it any more, and the ring goes on without it.
    until(&server, "on", |now| now["stayd_output_bytes_total"] > f64::from(8 << 20)).await;
    soon("a screen", async { terminal.control("snapshot").await }).await;
    assert!(scrape(&server).await["stayd_resyncs_total"] >= 1.0);
}

#[actix_web::test]
async fn a_request_has_an_id_in_its_answer_and_in_the_log() {
    let mut server = Server::start().await;
    let reply = server.api().get("/api/v1/sessions").await;
    let id = reply.headers.get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let logged = |line: &serde_json::Value| line["request"] == id.as_str();
    let line = server.wait_for_log("the request", logged).await;
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&json!("GET"), &json!("/api/v1/sessions"), &json!(200))
    );
    let ask = |id: &'static str, token: String| {
        let request = awc::Client::new().get(format!("{}/api/v1/sessions", server.api().base()));
        request.bearer_auth(token).insert_header(("X-Request-Id", id)).send()
    };
    // A proxy's own is taken over, also by a refusal; what is no id is not.
    let answered = |reply: &awc::ClientResponse<_>| {
        reply.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    let reply = ask("from-a.proxy_1", server.token()).await.unwrap();
    assert_eq!((reply.status().as_u16(), answered(&reply)), (200, "from-a.proxy_1".to_owned()));
    let reply = ask("from-a.proxy_2", "wrong".to_owned()).await.unwrap();
    assert_eq!((reply.status().as_u16(), answered(&reply)), (401, "from-a.proxy_2".to_owned()));
    let reply = ask("no id", server.token()).await.unwrap();
    assert_eq!(answered(&reply).len(), 36);
}

#[actix_web::test]
async fn ended_sessions_are_removed_after_their_time() {
    let server = Server::start_with(&["--retention-s", "1"]).await;
    let api = server.api();
    let lives = api.run("exec cat").await;
    let ended = api.run("exit 0").await;
    let start = Instant::now();
    while api.get(&format!("/api/v1/sessions/{ended}")).await.status != 404 {
        assert!(start.elapsed() < DEADLINE, "it is still there");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(start.elapsed() > Duration::from_millis(500), "it was not kept at all");
    assert_eq!(api.session(&lives).await["status"], "RUNNING");
    assert_eq!(server.sql("SELECT COUNT(*) FROM transitions").as_deref(), Some("1"));
}
