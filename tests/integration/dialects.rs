//! `raw.v1`, no subprotocol, and the original specification's `json.v1`.

use crate::support::{Event, Server, Terminal};
use awc::ws::Message;
use serde_json::json;

#[actix_web::test]
async fn raw_clients_get_bytes_and_send_text_or_binary() {
    let server = Server::start().await;
    let api = server.api();
    for protocol in [None, Some("raw.v1")] {
        let path = "/api/v1/sessions/raw/attach?create=bash";
        let mut terminal = Terminal::open(&api, path, protocol).await;
        terminal.send(Message::Text("echo text-$((1+1))\n".into())).await;
        terminal.wait_for("text-2").await;
        terminal.type_in("echo binary-$((1+2))\n").await;
        terminal.wait_for("binary-3").await;
        terminal.leave().await;
    }
    let mut terminal = Terminal::open(&api, "/api/v1/sessions/raw/attach", None).await;
    terminal.wait_for("binary-3").await;
    assert!(terminal.screen.starts_with(b"\x18\x1b\\\x1bc"), "a fresh client is reset first");
}

#[actix_web::test]
async fn json_clients_speak_the_original_messages() {
    let server = Server::start().await;
    let api = server.api();
    for path in ["/ws/terminal/first", "/api/v1/sessions/second/attach?create=bash"] {
        let mut terminal = Terminal::open(&api, path, Some("json.v1")).await;
        terminal.say(json!({ "type": "resize", "data": { "cols": 91, "rows": 19 } })).await;
        terminal.say(json!({ "type": "input", "data": "echo size-$(stty size)\n" })).await;
        terminal.wait_for("size-19 91").await;
        terminal.say(json!({ "type": "input", "data": "printf '\\342\\202'; sleep 0.1; printf '\\254\\n'\n" })).await;
        terminal.wait_for("€\r\n").await;
        terminal.say(json!({ "type": "input", "data": 5 })).await;
        assert!(terminal.control("error").await["message"].is_string());
        terminal.say(json!({ "type": "input", "data": "exit 3\n" })).await;
        let exit = terminal.control("exit").await;
        assert_eq!(exit, json!({ "type": "exit", "exitCode": 3, "signal": null }));
        assert_eq!(terminal.closed().await.0, 1000);
    }
}

#[actix_web::test]
async fn the_original_paths_speak_json_without_a_subprotocol_and_know_ids() {
    let server = Server::start().await;
    let api = server.api();
    let name = uuid::Uuid::now_v7().to_string();
    let mut terminal = Terminal::open(&api, &format!("/ws/terminal/{name}"), None).await;
    terminal.say(json!({ "type": "input", "data": "echo $((40+2))\n" })).await;
    terminal.wait_for("42").await;
    let id = api.session(&name).await["id"].as_str().unwrap().to_owned();
    let mut by_id = Terminal::open(&api, &format!("/ws/terminal/{id}"), None).await;
    by_id.wait_for("42").await;
    assert_eq!(api.session(&id).await["active_connections"], 2);
}

#[actix_web::test]
async fn an_agent_that_is_not_installed_is_a_clear_error() {
    let server = Server::start_with(&[]).await;
    let mut terminal = Terminal::open(&server.api(), "/ws/claude/agent", None).await;
    match terminal.next().await {
        Event::Control(error) if error["type"] == "error" => {
            assert!(error["message"].as_str().unwrap().contains("exec"), "{error}");
            assert_eq!(terminal.closed().await.0, 4410);
        }
        // Where it is installed, it runs.
        other => assert!(matches!(other, Event::Control(_)), "{other:?}"),
    }
}
