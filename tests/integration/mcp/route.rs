//! The route itself: rights, what it takes for a message, and its bounds.

use super::{HEADERS, call, calling, done, post, recorder, refused};
use crate::support::{Api, Server, Wire, soon};
use awc::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

async fn token(owner: &Api, body: Value) -> Api {
    let made = owner.post("/api/v1/tokens", body.to_string()).await.ok(201);
    owner.with_token(made["token"].as_str().unwrap())
}

async fn share(owner: &Api, session: &str, mode: &str) -> Api {
    let path = format!("/api/v1/sessions/{session}/shares");
    let made = owner.post(&path, json!({ "mode": mode }).to_string()).await.ok(201);
    owner.with_token(made["token"].as_str().unwrap())
}

/// What a tool tells a principal: `done`, or the code of its refusal.
async fn outcome(api: &Api, tool: &str, arguments: Value) -> String {
    let (failed, told) = call(api, tool, arguments).await;
    if failed { told["code"].as_str().unwrap().to_owned() } else { "done".to_owned() }
}

#[actix_web::test]
async fn every_tool_asks_for_the_right_of_its_route() {
    let server = Server::start().await;
    let owner = server.api();
    let session = owner.run("sleep 1000").await;
    let other = owner.run("sleep 1000").await;
    let viewer = token(&owner, json!({ "name": "viewer", "role": "viewer" })).await;
    let controller = token(&owner, json!({ "name": "controller" })).await;
    let scoped = token(&owner, json!({ "name": "scoped", "sessions": [other] })).await;
    let own = token(&owner, json!({ "name": "own", "own": true })).await;
    let labelled = token(&owner, json!({ "name": "labelled", "labels": { "a": "b" } })).await;
    let (ro, rw) = (share(&owner, &session, "ro").await, share(&owner, &session, "rw").await);
    let all = |key: &str| {
        [
            ("session_list", json!({})),
            ("session_screen", json!({ "session": key })),
            ("session_wait", json!({ "session": key, "wait": { "quiet_ms": 1 } })),
            ("session_send", json!({ "session": key, "text": "x" })),
            ("session_create", json!({ "command": ["true"] })),
            ("command_run", json!({ "command": "true" })),
        ]
    };
    for (who, api, expected) in [
        ("owner", &owner, ["done", "done", "done", "done", "done", "done"]),
        ("controller", &controller, ["done", "done", "done", "done", "done", "done"]),
        ("viewer", &viewer, ["done", "done", "done", "forbidden", "forbidden", "forbidden"]),
        (
            "scoped",
            &scoped,
            ["done", "not_found", "not_found", "not_found", "forbidden", "forbidden"],
        ),
        ("own", &own, ["done", "not_found", "not_found", "not_found", "done", "done"]),
        (
            "labelled",
            &labelled,
            ["done", "not_found", "not_found", "not_found", "forbidden", "forbidden"],
        ),
        ("share ro", &ro, ["done", "done", "done", "forbidden", "forbidden", "forbidden"]),
        ("share rw", &rw, ["done", "done", "done", "done", "forbidden", "forbidden"]),
    ] {
        for ((tool, arguments), expected) in all(&session).into_iter().zip(expected) {
            assert_eq!(outcome(api, tool, arguments).await, expected, "{who}: {tool}");
        }
    }
    // The end, for those that may not first.
    let end = || json!({ "session": session });
    for (api, expected) in [(&viewer, "forbidden"), (&scoped, "not_found"), (&ro, "forbidden")] {
        assert_eq!(outcome(api, "session_end", end()).await, expected);
    }
    let needs = refused(&viewer, "session_end", end(), "forbidden").await;
    assert_eq!(needs["needs"], "controller");
    assert_eq!(outcome(&rw, "session_end", end()).await, "done");
    // What is out of scope is in no list, and a link shows no surroundings.
    let listed = done(&scoped, "session_list", json!({ "all": true })).await;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    let shown = done(&ro, "session_list", json!({ "all": true })).await;
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(
        (&shown["sessions"][0]["command"], &shown["sessions"][0]["cwd"]),
        (&json!(""), &json!(""))
    );
    // With the labels that its scope wants, a token runs commands.
    let run = json!({ "command": "echo x", "labels": { "a": "b" } });
    assert_eq!(done(&labelled, "command_run", run).await["output"], "x\n");
    // What was done and refused is in the audit log, by the tool's own action.
    let audit = owner.get("/api/v1/audit?limit=1000").await.ok(200);
    let has = |principal: &str, action: &str, outcome: &str| {
        audit["entries"].as_array().unwrap().iter().any(|entry| {
            entry["principal"] == principal
                && entry["action"] == action
                && entry["outcome"] == outcome
        })
    };
    assert!(has("controller", "session.input", "done"), "{audit}");
    assert!(has("viewer", "session.input", "refused"));
    assert!(has("viewer", "session.end", "refused"));
    assert!(has("labelled", "session.create", "done"));
}

#[actix_web::test]
async fn who_has_no_rights_or_comes_from_elsewhere_is_refused_before_the_message_is_read() {
    let server = Server::start().await;
    let api = server.api();
    let list = calling("session_list", &json!({})).to_string();
    let accept = "Accept: application/json, text/event-stream";
    let bearer = format!("Authorization: Bearer {}", api.token());
    let ask = |more: &[&str]| {
        let answer = Wire::open(&server).ask("POST", "/mcp", more, &list);
        (answer.status, answer.body)
    };
    let code = |(status, body): (u16, String)| {
        let problem: Value = serde_json::from_str(&body).unwrap();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(ask(&[accept])), (401, "unauthorized".into()));
    assert_eq!(code(ask(&[accept, "Authorization: Bearer wrong"])), (401, "unauthorized".into()));
    let origin = "Origin: https://evil.example";
    assert_eq!(code(ask(&[accept, &bearer, origin])), (403, "forbidden_origin".into()));
    assert_eq!(ask(&[accept, &bearer]).0, 200);
    // The name of another host, as after its name was bound to this address.
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n{accept}\r\n\
         {bearer}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}",
        list.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("forbidden_host"), "{answer}");
    // A login's cookie is a browser's, which says which page asks.
    let cookie = format!("Cookie: {}", Wire::open(&server).log_in(api.token()));
    assert_eq!(code(ask(&[accept, &cookie])), (403, "forbidden_origin".into()));
    for method in [Method::GET, Method::DELETE] {
        let answer = api.send_with(method, "/mcp", &HEADERS, "").await;
        assert_eq!(answer.headers.get("allow").unwrap(), "POST");
        answer.problem(405, "method_not_allowed");
    }
    // A token that is removed ends what it waits for.
    let (session, _) = recorder(&server).await;
    let anna = token(&api, json!({ "name": "anna" })).await;
    let never = json!({ "session": session, "wait": { "text": "never" }, "timeout_ms": 100_000 });
    let waiting = actix_web::rt::spawn({
        let anna = anna.clone();
        async move { post(&anna, &calling("session_wait", &never)).await }
    });
    assert_eq!(api.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    soon("the end of the wait", waiting).await.unwrap().problem(401, "unauthorized");
}

#[actix_web::test]
async fn what_is_no_message_is_refused_and_what_needs_no_answer_gets_none() {
    let server = Server::start().await;
    let api = server.api();
    let code = async |message: Value| {
        let answer = post(&api, &message).await;
        let status = answer.status.as_u16();
        (status, answer.json()["error"]["code"].as_i64().unwrap_or_default())
    };
    let request = |method: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": method });
    assert_eq!(code(json!([request("ping")])).await, (400, -32600));
    assert_eq!(code(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await, (400, -32600));
    assert_eq!(code(request("resources/list")).await, (200, -32601));
    assert_eq!(code(request("tools/call")).await, (200, -32602));
    assert_eq!(code(calling("session_restart", &json!({}))).await, (200, -32602));
    assert_eq!(code(calling("session_list", &json!([]))).await, (200, -32602));
    assert_eq!(post(&api, &request("ping")).await.ok(200)["result"], json!({}));
    let notified = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let notified = post(&api, &notified).await;
    assert_eq!((notified.status.as_u16(), notified.bytes.len()), (202, 0));
    let ask = async |headers: &[(&str, &str)]| {
        let message = request("tools/list").to_string();
        api.send_with(Method::POST, "/mcp", headers, message).await
    };
    ask(&[("Accept", "application/json")]).await.problem(406, "invalid_request");
    let unknown = [HEADERS[0], ("MCP-Protocol-Version", "2019-01-01")];
    let unknown = ask(&unknown).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["error"]["code"]), (400, &json!(-32022)));
    // Deep and broken ones.
    for body in ["[".repeat(200_000), "{\"a\":".repeat(40_000), "\u{fffd}".into(), String::new()] {
        let answer = api.send_with(Method::POST, "/mcp", &HEADERS, body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (400, &json!(-32700))
        );
    }
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!({ "a": deep });
    }
    refused(&api, "session_screen", json!({ "session": deep }), "invalid_request").await;
    let huge = json!({ "session": "a", "text": "x".repeat(300 << 10) });
    let huge =
        api.send_with(Method::POST, "/mcp", &HEADERS, calling("session_send", &huge).to_string());
    huge.await.problem(413, "payload_too_large");
}

#[actix_web::test]
async fn arguments_are_checked_before_anything_is_typed() {
    let server = Server::start().await;
    let api = server.api();
    let (session, file) = recorder(&server).await;
    for (more, word) in [
        (json!({}), "nothing to type"),
        (json!({ "text": "x", "extra": 1 }), "unknown field `extra`"),
        (json!({ "text": 1 }), "string"),
        (json!({ "keys": ["Nokey"] }), "no key \"Nokey\""),
        (json!({ "text": "x", "wait": {} }), "exactly one"),
        (json!({ "text": "x", "wait": { "text": "a", "regex": "b" } }), "exactly one"),
        (json!({ "text": "x", "wait": { "state": "busy" } }), "expected unknown, working"),
        (json!({ "text": "x", "wait": { "regex": "(" } }), "unclosed group"),
        (json!({ "text": "x", "wait": { "regex": "((a{100}){100}){100}" } }), "size limit"),
        (json!({ "text": "x", "wait": { "text": "y".repeat(1025) } }), "1 to 1024"),
        (json!({ "text": "x", "wait": { "quiet_ms": 50_000 } }), "timeout_ms"),
        (json!({ "text": "x", "timeout_ms": 120_001 }), "1 to 120000"),
        (json!({ "text": "x", "timeout_ms": 0 }), "1 to 120000"),
        (json!({ "text": "x", "idempotency_key": "a b" }), "visible ASCII"),
    ] {
        let mut arguments = more.clone();
        arguments["session"] = session.clone().into();
        let told = refused(&api, "session_send", arguments, "invalid_request").await;
        assert!(told["detail"].as_str().unwrap().contains(word), "{more}: {told}");
        assert_eq!(told["typed"], 0, "{more}");
    }
    assert_eq!(super::lines(&file), Vec::<String>::new());
}

/// The program reads nothing: what does not fit is not typed, and it is told how much was.
#[actix_web::test]
async fn what_a_program_does_not_read_is_told() {
    let server = Server::start().await;
    let api = server.api();
    let session = api.run("stty raw -echo; echo ready; exec sleep 1000").await;
    done(&api, "session_wait", json!({ "session": session, "wait": { "text": "ready" } })).await;
    let much = json!({ "session": session, "text": "x".repeat(200_000), "idempotency_key": "k" });
    let told = refused(&api, "session_send", much, "input_full").await;
    let typed = told["typed"].as_u64().unwrap();
    assert!(typed > 60_000 && typed < 200_000, "{typed}");
}

/// A screen of a million cells and much scrollback is cut to its end.
#[actix_web::test]
async fn answers_are_bounded() {
    let server = Server::start().await;
    let api = server.api();
    let script = "for i in $(seq 1 900); do printf '%0999d\\n' $i; done; echo end; exec sleep 1000";
    let body = json!({ "command": ["bash", "-c", script], "cols": 1000, "rows": 1000 });
    let session = api.create(body).await["id"].clone();
    let wait = json!({ "session": session, "wait": { "regex": "^end$" }, "timeout_ms": 60_000 });
    let told = done(&api, "session_wait", wait).await;
    let screen = told["screen"].as_str().unwrap();
    assert!(screen.len() <= 64 << 10 && screen.ends_with("\nend"), "{}", screen.len());
    assert_eq!(told["truncated"], true);
}

/// More calls than are served at once: each is answered, and nothing grows.
#[actix_web::test]
async fn a_thousand_calls_at_once_are_bounded() {
    let flags =
        ["--max-connections-per-address", "2000", "--max-connections-without-token", "2000"];
    let server = Server::start_with(&flags).await;
    let api = server.api();
    let (session, _) = recorder(&server).await;
    let before = server.rss_kib();
    let screen = calling("session_screen", &json!({ "session": session })).to_string();
    let calls =
        (0..1000).map(|_| api.try_send_with(Method::POST, "/mcp", &HEADERS, screen.clone()));
    let all = join_all(calls).await;
    let (mut served, mut too_many) = (0, 0);
    for answer in all {
        let answer = answer.expect("an answer").ok(200);
        match answer["result"]["structuredContent"]["code"].as_str() {
            None => served += 1,
            Some("too_many_requests") => too_many += 1,
            Some(other) => panic!("{other}"),
        }
    }
    eprintln!("{served} served, {too_many} refused, {} KiB more", server.rss_kib() - before);
    assert_eq!(served + too_many, 1000);
    assert!(served >= 64);
    assert!(server.rss_kib() < before + (64 << 10), "{} KiB", server.rss_kib());
    done(&api, "session_screen", json!({ "session": session })).await;
}

/// Neither who sends half a message nor who hangs up in the middle of a wait keeps anything from others.
/// A call that ends in the instant in which its session has been made is one of some hundred.
const HANG_UPS: usize = 100;

#[actix_web::test]
async fn a_client_that_stalls_or_hangs_up_holds_up_nobody() {
    let server = Server::start_with(&["--body-timeout-s", "2"]).await;
    let api = server.api();
    let (session, _) = recorder(&server).await;
    let head = |length: usize| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: */*\r\n\
             Authorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
            server.address(),
            api.token()
        )
    };
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(format!("{}{{\"jsonrpc\"", head(1000)).as_bytes()).unwrap();
    let begun = Instant::now();
    done(&api, "session_screen", json!({ "session": session })).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    let wait = json!({ "session": session, "wait": { "text": "never" }, "timeout_ms": 100_000 });
    let wait = calling("session_wait", &wait).to_string();
    let mut gone = TcpStream::connect(server.address()).unwrap();
    gone.write_all(format!("{}{wait}", head(wait.len())).as_bytes()).unwrap();
    gone.shutdown(Shutdown::Both).unwrap();
    drop(gone);
    // Its turn is given up, and nobody on this session waits for it.
    done(&api, "session_screen", json!({ "session": session })).await;
    // Nor does a command run on whose result nobody can get, also of a call that ends while it is started.
    let run = calling("command_run", &json!({ "command": "sleep 1000", "timeout_ms": 100_000 }));
    let run = run.to_string();
    let live =
        async || api.get("/api/v1/sessions").await.ok(200)["sessions"].as_array().unwrap().len();
    for _ in 0..HANG_UPS {
        let mut gone = TcpStream::connect(server.address()).unwrap();
        gone.write_all(format!("{}{run}", head(run.len())).as_bytes()).unwrap();
        for (expected, what) in [(2, "the command runs"), (1, "it does not any more")] {
            soon(what, async {
                while live().await != expected {
                    actix_web::rt::task::yield_now().await;
                }
            })
            .await;
            let _ = gone.shutdown(Shutdown::Both);
        }
    }
    let answered = actix_web::rt::task::spawn_blocking(move || {
        let mut text = String::new();
        slow.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
        let _ = slow.read_to_string(&mut text);
        text
    });
    let answered = soon("what the stalled client gets", answered).await.unwrap();
    assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
}
