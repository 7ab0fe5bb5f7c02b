//! What stands at the door: names and addresses, `HEAD`, refusals that say what is wrong.

use crate::support::{Api, Server};
use awc::http::Method;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Each path of the document that has this method, with a live session in place of `{id}`.
fn paths<'a>(document: &'a Value, method: &str, id: &str) -> Vec<(String, &'a Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .filter_map(|(path, methods)| Some((path, methods.get(method)?)))
        .map(|(path, operation)| {
            (
                path.replace("{id}", id)
                    .replace("{kind}", "terminal")
                    .replace("{name}", "nobody")
                    .replace("{share}", "none"),
                operation,
            )
        })
        .collect()
}

fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(target) => document.pointer(&target[1..]).expect("a target"),
        None => value,
    }
}

/// A value that a schema does not allow; `None`: it allows all there are.
fn wrong(document: &Value, schema: &Value) -> Option<Value> {
    let schema = follow(document, schema);
    if schema["enum"].is_array() {
        return Some(json!("no such word"));
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("integer" | "boolean" | "number") => Some(json!("x")),
        Some("string") => (schema["format"] == "uuid").then(|| json!("x")),
        _ => None,
    }
}

#[actix_web::test]
async fn a_wrong_parameter_is_named_on_every_route() {
    let server = Server::start().await;
    let api = server.api();
    let document = api.get("/openapi.json").await.ok(200);
    let id = api.run("sleep 1000").await;
    let mut tried = 0;
    for method in ["get", "post", "patch", "delete"] {
        for (path, operation) in paths(&document, method, &id) {
            if path.ends_with("/attach") || path.starts_with("/ws/") {
                // Told over the socket: see bad_input.rs.
                continue;
            }
            if path == "/mcp" {
                // Told in the words of its protocol: see mcp/route.rs.
                continue;
            }
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter = follow(&document, parameter);
                let name = parameter["name"].as_str().expect("a name");
                let bad = wrong(&document, &parameter["schema"]);
                let (Some(bad), "query") = (bad, parameter["in"].as_str().expect("in")) else {
                    continue;
                };
                let bad = bad.as_str().expect("text").replace(' ', "%20");
                let asked = format!("{path}?{name}={bad}");
                let problem = api.send(verb.clone(), &asked, "{}").await;
                let problem = problem.problem(400, "invalid_request");
                let detail = problem["detail"].as_str().expect("a detail");
                assert!(detail.contains(name), "{method} {asked}: {detail}");
                tried += 1;
            }
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let schema = follow(&document, schema);
            let valid =
                json!({ "cols": 80, "rows": 24, "signal": "CONT", "token": "x", "name": "x" });
            for (name, _) in schema["properties"].as_object().into_iter().flatten() {
                // Nothing takes a list of lists.
                let mut body = json!({ name: [[1]] });
                for needed in schema["required"].as_array().into_iter().flatten() {
                    let needed = needed.as_str().expect("a name");
                    if needed != name {
                        body[needed] = valid[needed].clone();
                    }
                }
                let problem = api.send(verb.clone(), &path, body.to_string()).await;
                let problem = problem.problem(400, "invalid_request");
                let detail = problem["detail"].as_str().expect("a detail");
                assert!(detail.contains(name.as_str()), "{method} {path} {body}: {detail}");
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "{tried}");
}

#[actix_web::test]
async fn head_is_get_without_its_body() {
    let server = Server::start().await;
    let api = server.api();
    let document = api.get("/openapi.json").await.ok(200);
    let id = api.run("sleep 1000").await;
    let mut routes: Vec<String> =
        paths(&document, "get", &id).into_iter().map(|(path, _)| path).collect();
    routes.extend(["/".into(), "/nowhere".into(), "/api/v1/sessions/nobody".into()]);
    for path in routes {
        let head = api.send(Method::HEAD, &path, "").await;
        assert!(head.bytes.is_empty(), "{path}");
        if path == "/api/v1/events" {
            assert_eq!(head.status.as_u16(), 200);
            assert_eq!(head.headers.get("content-type").unwrap(), "text/event-stream");
            continue;
        }
        let get = api.send(Method::GET, &path, "").await;
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "etag", "allow", "cache-control", "x-stayd-offset"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path} {name}");
        }
    }
    // What would wait does not, and what would start something does not.
    let waits = format!("/api/v1/sessions/{id}/screen?wait=text:never&timeout_ms=600000");
    assert_eq!(api.send(Method::HEAD, &waits, "").await.status.as_u16(), 200);
    let upgrade = [
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let attach = "/api/v1/sessions/new/attach?create=bash";
    let refused = api.send_with(Method::HEAD, attach, &upgrade, "").await;
    assert_eq!(refused.status.as_u16(), 426);
    api.get("/api/v1/sessions/new").await.problem(404, "not_found");
    let without = Api::new(server.address(), "wrong");
    assert_eq!(without.send(Method::HEAD, "/api/v1/sessions", "").await.status.as_u16(), 401);
    let only_post = api.send(Method::HEAD, "/api/v1/reconcile", "").await;
    assert_eq!(only_post.status.as_u16(), 405);
}

/// Whether the server takes requests under a name.
async fn answers(api: &Api, host: &str) -> u16 {
    let mut request = awc::Client::default()
        .get(format!("{}/api/v1/sessions", api.base()))
        .bearer_auth(api.token());
    request = request.insert_header(("Host", host));
    request.send().await.expect("an answer").status().as_u16()
}

fn port(server: &Server) -> u16 {
    server.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

#[actix_web::test]
async fn both_loopback_addresses_are_the_servers() {
    let server = Server::start().await;
    let port = port(&server);
    for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"] {
        assert_eq!(answers(&server.api(), host).await, 200, "{host}");
    }
    assert_eq!(answers(&server.api(), "evil.example:8080").await, 403);
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no ::1");
        return;
    }
    assert!(TcpListener::bind(("::1", port)).is_err(), "nobody else can have it");
    let other = Api::new(&format!("[::1]:{port}"), &server.token());
    other.get("/api/v1/sessions").await.ok(200);
    let listen = std::fs::read_to_string(server.state().join("listen")).expect("listen");
    assert_eq!(listen, format!("127.0.0.1:{port}\n[::1]:{port}\n"));
}

#[actix_web::test]
async fn a_name_that_leads_to_somebody_else_is_not_accepted() {
    let mut server = Server::start().await;
    let port = port(&server);
    server.kill();
    let Ok(_other) = TcpListener::bind(("::1", port)) else {
        eprintln!("this machine has no ::1");
        return;
    };
    server.begin_restart();
    let warning = "somebody else listens";
    server
        .wait_for_log(warning, |line| line["msg"].as_str().is_some_and(|m| m.contains(warning)))
        .await;
    server.wait_until_listening().await;
    let api = server.api();
    assert_eq!(answers(&api, &format!("127.0.0.1:{port}")).await, 200);
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "localhost:80".into()] {
        assert_eq!(answers(&api, &host).await, 403, "{host}");
    }
    let doctor = stayd(&server.state(), &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains(&format!("[::1]:{port}")), "{said}");
}

#[actix_web::test]
async fn a_browser_is_shown_what_to_do() {
    let server = Server::start().await;
    let ask = async |name: &str, value: &str, accept: &str| {
        let mut reply = awc::Client::default()
            .get(format!("http://{}/", server.address()))
            .insert_header((name, value))
            .insert_header(("Accept", accept))
            .send()
            .await
            .expect("an answer");
        let kind =
            reply.headers().get("content-type").expect("a type").to_str().unwrap().to_owned();
        let body = reply.body().await.expect("a body").to_vec();
        (reply.status().as_u16(), kind, String::from_utf8(body).expect("text"))
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let (status, kind, body) = ask("Host", "term.example:80", browser).await;
    assert_eq!((status, &*kind), (403, "text/html; charset=utf-8"));
    assert!(body.contains("allowed_hosts = [\"term.example:80\"]"), "{body}");
    let (status, _, body) = ask("Origin", "https://<x>.example", browser).await;
    assert_eq!(status, 403);
    assert!(body.contains("allowed_origins = [\"https://&lt;x&gt;.example\"]"), "{body}");
    let (status, kind, _) = ask("Host", "term.example", "*/*").await;
    assert_eq!((status, &*kind), (403, "application/problem+json"));
}

#[actix_web::test]
async fn directories_begin_at_home() {
    let server = Server::start().await;
    let api = server.api();
    let home = server.state().parent().expect("a parent").to_owned();
    std::fs::create_dir(home.join("below")).expect("a directory");
    for (cwd, is) in
        [("~", home.clone()), ("~/below", home.join("below")), ("below", home.join("below"))]
    {
        let made =
            api.create(json!({ "command": ["sh", "-c", "pwd -P; sleep 1000"], "cwd": cwd })).await;
        let id = made["id"].as_str().expect("an id");
        let real = std::fs::canonicalize(&is).expect("it is there");
        let path = format!("/api/v1/sessions/{id}/output");
        let printed = async || String::from_utf8(api.get(&path).await.bytes).expect("text");
        while !printed().await.contains('\n') {}
        assert_eq!(printed().await.trim(), real.to_str().unwrap(), "{cwd}");
    }
    let refused = api.post("/api/v1/sessions", r#"{"cwd":"~nobody/x"}"#).await;
    refused.problem(400, "invalid_request");
}

fn stayd(state: &Path, words: &[&str]) -> std::process::Output {
    // A server that starts all the same is no reason to wait for ever.
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_stayd")]);
    command.args(words).arg("--state-dir").arg(state).env("HOME", state);
    command.output().expect("stayd runs")
}

/// Whoever could write into the state directory has planted something: nothing is started,
/// read or sent.
#[actix_web::test]
async fn what_is_planted_is_not_used() {
    let dir = Server::dir();
    let state = dir.path().join("state");
    let elsewhere = dir.path().join("elsewhere");
    for name in
        ["reserve", "server.sock", "lock", "listen", "stayd.db", "holder.pid", "holder.lock"]
    {
        let _ = std::fs::remove_dir_all(&state);
        std::fs::create_dir(&state).expect("a directory");
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).expect("a mode");
        std::fs::write(&elsewhere, "secret-secret-secret\n").expect("a file");
        symlink(&elsewhere, state.join(name)).expect("a link");
        for words in [
            &["serve", "--listen", "127.0.0.1:0"][..],
            &["token", "add", "x"],
            &["ls"],
            &["url"],
            &["hold"],
            &["stop"],
        ] {
            let ran = stayd(&state, words);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(!ran.status.success(), "{words:?} {name}");
            assert!(
                said.contains(&format!("state/{name}: it is a symbolic link")),
                "{words:?}: {said}"
            );
        }
        let after = std::fs::read_to_string(&elsewhere).expect("a file");
        assert_eq!(after, "secret-secret-secret\n", "{name}");
    }
    if nix::unistd::geteuid().is_root() {
        std::fs::remove_file(state.join("holder.lock")).expect("removed");
        std::os::unix::fs::chown(&state, Some(12_345), None).expect("chown");
        for words in
            [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"], &["ls"], &["hold"]]
        {
            let said = stayd(&state, words).stderr;
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains("belongs to user 12345"), "{words:?}: {said}");
        }
    }
}
