//! Guessing tokens: slowed down, counted and logged by address; the right one always gets in.

use crate::metrics::scrape;
use crate::support::{Server, Wire};
use serde_json::Value;
use std::time::{Duration, Instant};

const GUESS: &str = "guessed-guessed-guessed";

#[actix_web::test]
async fn a_guesser_is_slowed_down_and_seen_and_locks_nobody_out() {
    let mut server = Server::start().await;
    let owner = server.token();
    let mut wires: Vec<Wire> = (0..40).map(|_| Wire::open(&server)).collect();
    let bearer = format!("Authorization: Bearer {GUESS}");
    let protocol = format!("Sec-WebSocket-Protocol: stayd.v1, bearer.{GUESS}");
    let cookie =
        format!("Cookie: stayd-{}={GUESS}", server.address().rsplit_once(':').expect("a port").1);
    let login = format!(r#"{{"token":"{GUESS}"}}"#);
    let start = Instant::now();
    for (n, wire) in wires.iter_mut().enumerate() {
        // What a client says of whom it asks for does not make it another.
        let behind = format!("X-Forwarded-For: 192.0.2.{n}");
        match n % 4 {
            0 => wire.send("GET", "/api/v1/sessions", &[&bearer, &behind], ""),
            1 => wire.send("GET", "/api/v1/sessions/x/attach", &[&protocol, &behind], ""),
            2 => wire.send("GET", "/api/v1/sessions", &[&cookie, &behind], ""),
            _ => wire.send("POST", "/api/v1/login", &[&behind], &login),
        }
    }
    // Its owner comes from the same address, while the guesses wait for their answers.
    let mut wire = Wire::open(&server);
    let before = Instant::now();
    assert_eq!(wire.status_with(&owner), 200);
    let login = wire.log_in(&owner);
    assert_eq!(wire.status_of(&login), 200);
    let took = before.elapsed();
    let mut slowed = 0;
    for wire in &mut wires {
        let answer = wire.answer();
        assert!([401, 429].contains(&answer.status), "{}", answer.body);
        assert!(!answer.body.contains(GUESS));
        if answer.status == 429 {
            slowed += 1;
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    let all = start.elapsed();
    assert!(slowed >= 40 - 11 - all.as_secs(), "{slowed} in {all:?}");
    assert!(all >= Duration::from_secs(1));
    eprintln!("the right one took {took:?}, all wrong ones {all:?}");
    // A connection guesses once a second.
    let start = Instant::now();
    let mut answers = Vec::new();
    while answers.iter().filter(|&&status| status == 429).count() < 3 {
        for wire in &mut wires[..12] {
            wire.send("GET", "/api/v1/sessions", &[&bearer], "");
        }
        answers.extend(wires[..12].iter_mut().map(|wire| wire.answer().status));
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
    let failed = 40 + answers.len();
    assert_eq!(scrape(&server).await["stayd_wrong_tokens_total"], failed as f64);
    // Asking without anything is no guess.
    assert_eq!(wire.ask("GET", "/api/v1/sessions", &[], "").status, 401);
    assert_eq!(scrape(&server).await["stayd_wrong_tokens_total"], failed as f64);
    let line = server.wait_for_log("the guesser", |line| line["msg"] == "wrong tokens").await;
    assert_eq!((&line["address"], &line["level"]), (&"127.0.0.1".into(), &"warning".into()));
    assert!(line["attempts"].as_u64().is_some_and(|attempts| attempts > 0), "{line}");
    // However much is tried, a line a minute tells of an address, and none has a secret.
    server.kill();
    let mut rest: Vec<Value> = Vec::new();
    while let Some(line) = server.next_log().await {
        rest.push(line);
    }
    assert!(rest.iter().all(|line| line["msg"] != "wrong tokens"), "{rest:?}");
    assert!(!format!("{rest:?}").contains(GUESS));
}
