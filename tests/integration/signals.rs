//! Whatever signal ends a leader: its session ends, says which, and leaves nothing behind.

use crate::support::{Server, descriptors, soon};
use serde_json::{Value, json};

/// Signals that end nobody: by default (signal(7)) CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG and
/// WINCH, and the two that glibc keeps for itself, which its posix_spawn(3) leaves ignored.
const HARMLESS: [i32; 10] = [17, 18, 19, 20, 21, 22, 23, 28, 32, 33];

/// The holder has no more descriptors than before.
async fn nothing_is_left(server: &Server, before: usize) {
    soon("the holder to forget", async {
        while descriptors(server.holder_pid()) != before {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn every_signal_that_ends_a_leader_is_told() {
    let server = Server::start().await;
    let api = server.api();
    let before = descriptors(server.holder_pid());
    let (mut all, mut kills) = (Vec::new(), String::new());
    for signal in (1..=64).filter(|signal| !HARMLESS.contains(signal)) {
        let session = api.create(json!({ "command": ["sleep", "1000"] })).await;
        kills += &format!("kill -{signal} {}\n", session["pid"]);
        all.push((signal, session["id"].as_str().expect("an id").to_owned()));
    }
    // They die in the same moment.
    let killed = std::process::Command::new("bash").args(["-c", &kills]).status();
    assert!(killed.expect("bash").success());
    for (signal, id) in &all {
        let session = api.ended(id).await;
        let how = (&session["exit_code"], &session["exit_signal"], &session["end_reason"]);
        assert_eq!(how, (&Value::Null, &json!(signal), &json!("signaled")), "{signal}");
        assert_eq!(session["status"], "ERROR", "{signal}: nobody asked for it");
    }
    for (_, id) in &all {
        api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    }
    nothing_is_left(&server, before).await;
}

#[actix_web::test]
async fn every_signal_can_be_asked_for() {
    let server = Server::start().await;
    let api = server.api();
    let before = descriptors(server.holder_pid());
    let names = [(json!("RTMIN"), 34), (json!("sigrtmin+3"), 37), (json!("RTMAX"), 64)];
    let numbers = (1..=64).filter(|signal| !HARMLESS.contains(signal));
    let numbers = numbers.map(|signal| (json!(signal), signal));
    for (asked, signal) in names.into_iter().chain(numbers) {
        let session = api.create(json!({ "command": ["sleep", "1000"] })).await;
        let id = session["id"].as_str().expect("an id").to_owned();
        let to = if signal % 2 == 0 { "tree" } else { "foreground" };
        let body = json!({ "signal": asked, "to": to }).to_string();
        let path = format!("/api/v1/sessions/{id}/signal");
        let answer = api.post(&path, body).await.ok(200);
        let again = json!({ "signal": answer["signal"] }).to_string();
        assert_ne!(api.post(&path, again).await.status, 400, "{answer} is a name");
        let session = api.ended(&id).await;
        let how = (&session["exit_signal"], &session["status"]);
        assert_eq!(how, (&json!(signal), &json!("TERMINATED")), "{asked}");
        api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
        nothing_is_left(&server, before).await;
    }
    let id = api.run("sleep 1000").await;
    for nonsense in [json!("RTMAX+1"), json!("RTMIN+31"), json!(0), json!(65), json!("NO")] {
        let body = json!({ "signal": nonsense }).to_string();
        let path = format!("/api/v1/sessions/{id}/signal");
        let problem = api.post(&path, body).await.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains("RTMIN+1"), "{problem}");
    }
}
