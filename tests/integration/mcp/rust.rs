//! The client of the crate `rmcp`, unmodified, against a server that is killed.

use super::{lines, recorder};
use crate::support::{Server, soon};
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use std::time::Duration;

type Client = RunningService<RoleClient, ClientConfig>;

fn config(server: &Server) -> StreamableHttpClientTransportConfig {
    let url = format!("http://{}/mcp", server.address());
    StreamableHttpClientTransportConfig::with_uri(url).auth_header(server.token())
}

/// A client that begins with `initialize`, or with `server/discover`.
async fn connect(server: &Server, discovers: bool) -> Client {
    let info = ClientConfig::default();
    let transport = StreamableHttpClientTransport::from_config(config(server));
    let client = async {
        match discovers {
            false => info.serve(transport).await,
            true => info.serve_with_lifecycle(transport, lifecycle()).await,
        }
    };
    soon("a client", client).await.expect("it connects")
}

async fn call(
    client: &Client,
    tool: &str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    let arguments = arguments.as_object().cloned().unwrap();
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    soon("an answer, or none", client.call_tool(params)).await
}

async fn every_tool(discovers: bool) {
    let server = Server::start().await;
    let client = connect(&server, discovers).await;
    let tools = soon("tools", client.list_all_tools()).await.expect("tools");
    let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(
        names,
        [
            "session_create",
            "session_list",
            "session_send",
            "session_screen",
            "session_wait",
            "session_end",
            "command_run"
        ]
    );
    let done = async |tool, arguments| {
        let result = call(&client, tool, arguments).await.expect("an answer");
        assert_eq!(result.is_error, Some(false), "{tool}: {result:?}");
        result.structured_content.expect("structured")
    };
    let session = done("session_create", json!({ "command": ["cat"] })).await["id"].clone();
    let list = done("session_list", json!({})).await;
    assert_eq!(list["sessions"][0]["id"], session);
    let wait = json!({ "text": "hello\nhello" });
    let send = json!({ "session": session, "text": "hello", "keys": ["Enter"], "wait": wait });
    assert_eq!(done("session_send", send).await["waited"], "held");
    let screen = done("session_screen", json!({ "session": session })).await;
    assert_eq!((&screen["screen"], &screen["cursor"]["y"]), (&json!("hello\nhello"), &json!(2)));
    let quiet = json!({ "session": session, "wait": { "quiet_ms": 50 } });
    assert_eq!(done("session_wait", quiet).await["waited"], "held");
    assert_eq!(done("session_end", json!({ "session": session })).await["end_reason"], "killed");
    let ran = done("command_run", json!({ "command": "echo out; echo err >&2; exit 3" })).await;
    assert_eq!((&ran["exit_code"], &ran["output"]), (&json!(3), &json!("out\nerr\n")));
    soon("its end", client.cancel()).await.expect("it ends");
}

fn lifecycle() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![rmcp::model::ProtocolVersion::LATEST] }
}

#[actix_web::test]
async fn rmcp_uses_every_tool() {
    every_tool(false).await;
}

#[actix_web::test]
async fn rmcp_uses_every_tool_without_a_handshake() {
    every_tool(true).await;
}

/// The server dies while calls are under way. What is repeated with its key is typed once, and what has no
/// key at most once.
#[actix_web::test]
async fn what_rmcp_sends_while_the_server_is_killed_is_typed_once() {
    let mut server = Server::start().await;
    let (session, file) = recorder(&server).await;
    let mut client = connect(&server, false).await;
    let mut unknown = Vec::new();
    for number in 0..15 {
        let text = format!("line {number}");
        let keyed = number % 3 != 2;
        let mut arguments = json!({
            "session": session, "text": text, "keys": ["Enter"],
            "wait": { "text": format!("got {text}\n") }, "timeout_ms": 2000,
        });
        if keyed {
            arguments["idempotency_key"] = format!("key-{number}").into();
        }
        let asked = call(&client, "session_send", arguments.clone());
        let outcome = if number % 2 == 1 {
            // Killed somewhere in the midst of it: how far it comes is left to chance.
            tokio::pin!(asked);
            let within = Duration::from_micros(400 * number);
            let early = tokio::time::timeout(within, &mut asked).await;
            server.kill();
            match early {
                Ok(outcome) => outcome,
                Err(_) => asked.await,
            }
        } else {
            asked.await
        };
        if number % 2 == 1 {
            server.restart().await;
        }
        let answered = match outcome {
            Ok(result) => result,
            Err(_) if !keyed => {
                unknown.push(text);
                continue;
            }
            Err(_) => match call(&client, "session_send", arguments.clone()).await {
                Ok(result) => result,
                // The client has given up for good, as it may: another one goes on.
                Err(_) => {
                    client = connect(&server, false).await;
                    call(&client, "session_send", arguments).await.expect("an answer")
                }
            },
        };
        assert_eq!(answered.is_error, Some(false), "{answered:?}");
    }
    let end = json!({ "session": session, "text": "end", "keys": ["Enter"], "wait": { "text": "got end" } });
    let end = super::done(&server.api(), "session_send", end).await;
    assert_eq!(end["waited"], "held", "{end}");
    let typed = lines(&file);
    let expected = (0..15).map(|number| format!("line {number}")).chain(["end".to_owned()]);
    let expected: Vec<_> = expected
        .filter(|line| !unknown.contains(line) || typed.iter().any(|typed| typed == line))
        .collect();
    assert_eq!(typed, expected);
}

/// Nothing is kept between requests: the same client goes on with another server.
#[actix_web::test]
async fn a_restart_between_calls_costs_a_client_nothing() {
    let mut server = Server::start().await;
    for discovers in [false, true] {
        let (session, file) = recorder(&server).await;
        let client = connect(&server, discovers).await;
        for number in 0..3 {
            let text = format!("line {number}");
            let wait = json!({ "text": format!("got {text}") });
            let send = json!({ "session": session, "text": text, "keys": ["Enter"], "wait": wait });
            let told = call(&client, "session_send", send).await.expect("an answer");
            assert_eq!(told.structured_content.unwrap()["waited"], "held");
            server.kill_and_restart().await;
        }
        assert_eq!(lines(&file), ["line 0", "line 1", "line 2"]);
    }
}
