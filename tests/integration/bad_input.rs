//! Nonsense from outside: a clear error with its stable code, and nothing lost.

use crate::support::{Event, Server, Terminal};
use awc::http::Method;
use awc::ws::Message;
use serde_json::json;

#[actix_web::test]
async fn bad_requests_are_refused_and_nothing_comes_of_them() {
    let server = Server::start().await;
    let api = server.api();
    let create = "/api/v1/sessions";
    for body in [
        "{",
        "[]",
        "\u{0}",
        r#"{"cols":0}"#,
        r#"{"cols":70000}"#,
        r#"{"rows":1001}"#,
        r#"{"command":[]}"#,
        r#"{"command":["a\u0000b"]}"#,
        r#"{"command":"ls"}"#,
        r#"{"profile":"nope"}"#,
        r#"{"name":""}"#,
        r#"{"name":"a/b"}"#,
        r#"{"nmae":"typo"}"#,
        r#"{"env":{"A=B":"c"}}"#,
        r#"{"idle_timeout_s":-1}"#,
        r#"{"idle_timeout_s":9223372036854776}"#,
        r#"{"first_attach_timeout_s":18446744073709551615}"#,
    ] {
        let problem = api.post(create, body).await.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
    }
    let not_utf8 = api.post(create, &b"{\"name\":\"\xff\"}"[..]).await;
    not_utf8.problem(400, "invalid_request");
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(3 << 20));
    api.post(create, huge).await.problem(413, "payload_too_large");
    api.get("/api/v1/nothing").await.problem(404, "not_found");
    api.get("/api/v1/sessions/nothing").await.problem(404, "not_found");
    api.delete("/api/v1/sessions/nothing").await.problem(404, "not_found");
    api.send(Method::PUT, create, "").await.problem(405, "method_not_allowed");
    assert_eq!(api.get("/api/v1/sessions?all=true").await.ok(200)["sessions"], json!([]));
}

#[actix_web::test]
async fn bad_sizes_and_signals_are_refused() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    Terminal::attach(&server, &id, "").await.0.leave().await;
    let resize = format!("/api/v1/sessions/{id}/resize");
    for body in [r#"{"cols":0,"rows":5}"#, r#"{"cols":70000,"rows":5}"#, r#"{"cols":5}"#] {
        api.post(&resize, body).await.problem(400, "invalid_request");
    }
    let resized = api.post(&resize, r#"{"cols":33,"rows":11}"#).await.ok(200);
    assert_eq!((&resized["cols"], &resized["rows"]), (&json!(33), &json!(11)));
    let longest = json!({ "idle_timeout_s": 9_223_372_036_854_775_u64 });
    api.send(Method::PATCH, &format!("/api/v1/sessions/{id}"), longest.to_string()).await.ok(200);
    let longer = json!({ "idle_timeout_s": 9_223_372_036_854_776_u64 });
    let refused =
        api.send(Method::PATCH, &format!("/api/v1/sessions/{id}"), longer.to_string()).await;
    refused.problem(400, "invalid_request");
    let signal = format!("/api/v1/sessions/{id}/signal");
    for body in [r#"{"signal":"NOPE"}"#, r#"{"signal":65}"#, r#"{"signal":"INT","to":"all"}"#] {
        api.post(&signal, body).await.problem(400, "invalid_request");
    }
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    api.post(&resize, r#"{"cols":5,"rows":5}"#).await.problem(410, "ended");
    api.post(&signal, r#"{"signal":"INT"}"#).await.problem(410, "ended");
    api.post(&format!("/api/v1/sessions/{id}/input"), "x").await.problem(410, "ended");
    // What it has printed is kept for those who come late.
    assert_eq!(api.get(&format!("/api/v1/sessions/{id}/output")).await.status, 200);
}

#[actix_web::test]
async fn bad_control_messages_are_answered_and_the_session_goes_on() {
    let server = Server::start().await;
    let (mut terminal, _) = Terminal::attach(&server, "x", "create=bash").await;
    for text in ["{", "", "null", r#"{"type":"dance"}"#, r#"{"type":"ack"}"#, "\u{0}"] {
        terminal.send(Message::Text(text.to_owned().into())).await;
        assert_eq!(terminal.control("error").await["code"], "invalid_message", "{text}");
    }
    for (cols, rows) in [(0, 24), (80, 0), (70_000, 24), (80, 1001)] {
        terminal.say(json!({ "type": "resize", "cols": cols, "rows": rows })).await;
        assert_eq!(terminal.control("error").await["code"], "invalid_size");
    }
    terminal.say(json!({ "type": "ack", "offset": 1_u64 << 60 })).await;
    assert_eq!(terminal.control("error").await["code"], "invalid_message");
    terminal.type_in(b"\xff\xfe\n").await;
    terminal.type_in("echo $((40+2))\n").await;
    terminal.wait_for("42").await;
}

#[actix_web::test]
async fn oversized_frames_are_too_much_and_hurt_nobody_else() {
    let server = Server::start().await;
    let (mut good, _) = Terminal::attach(&server, "x", "create=bash").await;
    let (mut bad, _) = Terminal::attach(&server, "x", "").await;
    bad.send(Message::Binary(vec![b'x'; 1 << 20].into())).await;
    assert_eq!(bad.closed().await.0, 1009);
    good.type_in("echo $((40+2))\n").await;
    good.wait_for("42").await;
}

#[actix_web::test]
async fn bad_queries_of_an_attach_are_told_over_the_socket() {
    let server = Server::start().await;
    let api = server.api();
    let long = format!("client={}", "x".repeat(65));
    for query in ["mode=god", "cols=5", "cols=0&rows=0", "offset=x&session=y", "lag=no", &long] {
        let path = format!("/api/v1/sessions/x/attach?create=bash&{query}");
        let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
        match terminal.next().await {
            Event::Control(error) => assert_eq!(error["code"], "invalid_request", "{query}"),
            other => panic!("{query}: {other:?}"),
        }
        assert_eq!(terminal.closed().await.0, 1008);
    }
    let path = "/api/v1/sessions/x/attach?create=nope";
    let mut terminal = Terminal::open(&api, path, Some("stayd.v1")).await;
    assert_eq!(terminal.closed().await.0, 1008);
    assert_eq!(api.get("/api/v1/sessions").await.ok(200)["sessions"], json!([]));
}
