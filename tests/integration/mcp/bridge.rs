//! `stayd mcp`, spoken to line by line.

use super::{lines, recorder};
use crate::cli::stayd;
use crate::support::{Server, soon};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct Bridge {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: UnboundedReceiver<Value>,
}

impl Bridge {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("stayd runs");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let (sender, answers) = unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Bridge { child, stdin, answers }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("said");
    }

    fn call(&mut self, id: Value, tool: &str, arguments: Value) {
        let params = json!({ "name": tool, "arguments": arguments });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        self.say(&call.to_string());
    }

    async fn answer(&mut self) -> Value {
        soon("an answer", self.answers.recv()).await.expect("an answer")
    }

    /// Ends its input; its further answers, and whether it has ended well.
    async fn end(mut self) -> (Vec<Value>, bool) {
        self.stdin = None;
        let mut rest = Vec::new();
        while let Some(answer) = soon("its end", self.answers.recv()).await {
            rest.push(answer);
        }
        (rest, self.child.wait().expect("wait").success())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn calls_over_a_pipe_are_served_in_order_and_answered_to_the_last() {
    let server = Server::start().await;
    let (session, file) = recorder(&server).await;
    let mut bridge = Bridge::start(&mut stayd(&server, &["mcp"]));
    for number in 0..20 {
        let wait = json!({ "text": format!("got {number}") });
        let text = number.to_string();
        let send = json!({ "session": session, "text": text, "keys": ["Enter"], "wait": wait });
        bridge.call(number.into(), "session_send", send);
    }
    bridge.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    let (answers, well) = bridge.end().await;
    assert!(well);
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    assert!(answers.iter().all(|it| it["result"]["structuredContent"]["waited"] == "held"));
    assert_eq!(lines(&file), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Who presses Escape in an agent and then has it type does not wait for what was given up.
#[actix_web::test]
async fn what_is_given_up_is_not_answered_and_holds_up_nothing() {
    let server = Server::start().await;
    let (session, file) = recorder(&server).await;
    let mut bridge = Bridge::start(&mut stayd(&server, &["mcp"]));
    let never = json!({ "text": "never" });
    let wait = json!({ "session": session, "text": "a", "keys": ["Enter"], "wait": never, "timeout_ms": 100_000 });
    bridge.call("first".into(), "session_send", wait);
    let behind = json!({ "session": session, "wait": { "text": "got a" } });
    // Another client of the same principal sees that the first has typed, and so waits.
    soon("the first line", async {
        while lines(&file).is_empty() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    bridge.call("second".into(), "session_wait", behind);
    let params = json!({ "requestId": "first", "reason": "Escape" });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    bridge.say(&cancel.to_string());
    let answer = bridge.answer().await;
    assert_eq!(
        (&answer["id"], &answer["result"]["structuredContent"]["waited"]),
        (&json!("second"), &json!("held"))
    );
    assert_eq!(bridge.end().await.0, Vec::<Value>::new());
}

#[actix_web::test]
async fn what_is_no_message_is_answered_here_and_what_the_server_refuses_as_an_error() {
    let server = Server::start().await;
    let mut bridge = Bridge::start(&mut stayd(&server, &["mcp"]));
    let long = format!("\"{}\"", "x".repeat(300 << 10));
    for (line, code) in [("garbage", -32700), ("[]", -32600), (&*long, -32600), ("{}", 0)] {
        bridge.say(line);
        if code != 0 {
            assert_eq!(bridge.answer().await["error"]["code"], code, "{line:.20}");
        }
    }
    bridge.say(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string());
    assert_eq!(bridge.answer().await, json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    let ping = json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }).to_string();
    // By its address, with a token that is none.
    let url = format!("http://{}", server.address());
    let mut wrong = Bridge::start(stayd(&server, &["mcp", "--url", &url]).env("STAYD_TOKEN", "x"));
    wrong.say(&ping);
    let answer = wrong.answer().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["data"]["code"]),
        (&json!(2), &json!("unauthorized"))
    );
    let token = server.token();
    let mut right =
        Bridge::start(stayd(&server, &["mcp", "--url", &url]).env("STAYD_TOKEN", &token));
    right.say(&ping);
    assert_eq!(right.answer().await["result"], json!({}));
    // Where no server ever was, nothing is waited for, and none is started.
    let dir = tempfile::tempdir().expect("directory");
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_stayd"));
    let mut nobody = Bridge::start(nobody.arg("--state-dir").arg(dir.path()).arg("mcp"));
    nobody.say(&ping);
    let answer = nobody.answer().await;
    let why = answer["error"]["message"].as_str().unwrap();
    assert!(why.contains("no server answers"), "{answer}");
    assert!(nobody.end().await.1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
