//! Sessions as tools of agents: `POST /mcp` and `stayd mcp`.
//!
//! `rust`: the client of the crate `rmcp`. `python`: the official one, unmodified. `route`: rights, bounds
//! and what is no client of theirs. `calls`: what the tools do. `bridge`: `stayd mcp`, line by line.

mod bridge;
mod calls;
mod python;
mod route;
mod rust;

use crate::support::{Api, Reply, Server};
use awc::http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

const HEADERS: [(&str, &str); 2] =
    [("Accept", "application/json, text/event-stream"), ("MCP-Protocol-Version", "2025-11-25")];

/// Sends a message as it is.
async fn post(api: &Api, message: &Value) -> Reply {
    api.send_with(Method::POST, "/mcp", &HEADERS, message.to_string()).await
}

fn calling(tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

/// Calls a tool: whether it has failed, and what it has told.
async fn call(api: &Api, tool: &str, arguments: Value) -> (bool, Value) {
    let answer = post(api, &calling(tool, &arguments)).await.ok(200);
    assert_eq!(answer["id"], 7, "{answer}");
    let result = &answer["result"];
    assert!(result.is_object(), "{tool} {arguments}: {answer}");
    (result["isError"] == true, result["structuredContent"].clone())
}

/// Calls a tool that does what it is asked.
async fn done(api: &Api, tool: &str, arguments: Value) -> Value {
    let (failed, told) = call(api, tool, arguments).await;
    assert!(!failed, "{tool}: {told}");
    told
}

/// Calls a tool that refuses with this code.
async fn refused(api: &Api, tool: &str, arguments: Value, code: &str) -> Value {
    let (failed, told) = call(api, tool, arguments).await;
    assert!(failed && told["code"] == code, "{tool}: {told}");
    told
}

/// A session whose program writes each line that it gets into a file, and says it back.
async fn recorder(server: &Server) -> (String, PathBuf) {
    let file = server.state().join(format!("lines-{}", uuid::Uuid::now_v7().simple()));
    let script = r#"stty -echo; echo ready
        while IFS= read -r line; do printf '%s\n' "$line" >>"$FILE"; echo "got $line"; done"#;
    let api = server.api();
    let body = json!({ "command": ["bash", "-c", script], "env": { "FILE": file } });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let ready = json!({ "session": id, "wait": { "text": "ready" } });
    assert_eq!(done(&api, "session_wait", ready).await["waited"], "held");
    (id, file)
}

fn lines(file: &PathBuf) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
