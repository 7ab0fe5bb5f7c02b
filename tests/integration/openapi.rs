//! The description of the API, compared with the API.

use crate::support::{Api, Reply, Server, Terminal, soon};
use awc::http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Paths of the document, with each one's methods.
fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys().map(|name| name.to_uppercase());
            (path.clone(), methods.collect())
        })
        .collect()
}

/// Status, `Allow` and, of an error, the `detail`. Reads no body that may have no end.
async fn ask(api: &Api, method: &Method, path: &str) -> (u16, String, String) {
    let request = awc::Client::default()
        .request(method.clone(), format!("{}{path}", api.base()))
        .bearer_auth(api.token());
    let mut reply = soon(path, request.send()).await.unwrap();
    let allow = reply.headers().get("allow").map_or("", |allow| allow.to_str().unwrap());
    let (status, allow) = (reply.status().as_u16(), allow.to_owned());
    if status < 400 {
        return (status, allow, String::new());
    }
    let body = soon(path, reply.body()).await.unwrap();
    if *method == Method::HEAD {
        assert!(body.is_empty(), "{path}");
        return (status, allow, String::new());
    }
    let problem: Value = serde_json::from_slice(&body).unwrap();
    (status, allow, problem["detail"].as_str().unwrap().to_owned())
}

#[actix_web::test]
async fn every_route_is_described_and_all_that_is_described_is_there() {
    let server = Server::start().await;
    let api = server.api();
    let document = api.get("/openapi.json").await.ok(200);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    Api::new(server.address(), "wrong").get("/openapi.json").await.problem(401, "unauthorized");
    let described = described(&document);
    for (path, methods) in &described {
        // Nobody's id: nothing is changed by asking.
        let concrete = path.replace("{id}", "nobody").replace("{kind}", "terminal");
        let concrete = concrete.replace("{name}", "nobody").replace("{share}", "none");
        let concrete = concrete.replace("{login}", "none");
        for method in METHODS {
            let (status, allow, detail) = ask(&api, &method, &concrete).await;
            assert!(!detail.starts_with("there is nothing at"), "{path} is not served");
            let is_described = methods.contains(method.as_str());
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
            if status == 405 {
                let allow: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
                assert_eq!(allow, *methods, "{path}");
            }
        }
    }
    // The other way round: what the source registers.
    let mut registered = BTreeSet::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http")), &mut registered);
    let known: BTreeSet<String> = described.into_keys().collect();
    assert_eq!(registered, known);
}

/// The literals that look like paths in what is not a test.
fn collect(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if !is_source || path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for literal in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for part in literal.split('"').skip(1).step_by(2) {
                let roots =
                    ["/api/", "/ws/", "/healthz", "/readyz", "/metrics", "/openapi", "/mcp"];
                let is_path = roots.iter().any(|root| part.starts_with(root));
                // A `Location` is no route, and neither is what a path begins with.
                if is_path && !part.contains("{}") && !part.ends_with('/') {
                    found.insert(part.replace("{kind:terminal|claude}", "{kind}"));
                }
            }
        }
    }
}

#[actix_web::test]
async fn every_code_is_described() {
    let server = Server::start().await;
    let document = server.api().get("/openapi.json").await.ok(200);
    let words = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let words: BTreeSet<&str> =
        words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let source = include_str!("../../src/http/problem.rs");
    let codes = source.split("Code(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(words, codes.collect());
}

/// Compares answers with the document.
struct Judge {
    document: Value,
    /// Operations and statuses that were seen.
    seen: BTreeSet<(String, String)>,
}

impl Judge {
    /// The answer has a status, a type and a body that the document has for it.
    #[track_caller]
    fn check(&mut self, method: &str, template: &str, reply: &Reply) {
        let status = reply.status.as_u16().to_string();
        let what = format!("{method} {template} {status}");
        let operation = &self.document["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{what}: no such operation");
        let mut response = &operation["responses"][&status];
        if let Some(target) = response["$ref"].as_str() {
            response = self.document.pointer(&target[1..]).expect(target);
        }
        assert!(response.is_object(), "{what}: {}", String::from_utf8_lossy(&reply.bytes));
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            // Not on every answer.
            if name != "Idempotent-Replay" {
                assert!(reply.headers.contains_key(name), "{what}: {name}");
            }
        }
        self.seen.insert((operation["operationId"].as_str().unwrap().to_owned(), status));
        let Some(content) = response["content"].as_object() else {
            assert!(reply.bytes.is_empty(), "{what}: no body is described");
            return;
        };
        let kind = reply.headers.get("content-type").expect("a type").to_str().unwrap();
        let kind = kind.split(';').next().unwrap();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{what}: {kind}"))["schema"];
        if kind.ends_with("json") {
            let schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "components": self.document["components"],
                "allOf": [schema],
            });
            let validator = jsonschema::options()
                .should_validate_formats(true)
                .build(&schema)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let body = reply.json();
            let errors: Vec<String> = validator
                .iter_errors(&body)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{what}: {errors:?} in {body}");
        }
    }
}

/// Tokens, share links, codes and the audit log, for the owner and for a viewer of one session.
async fn rights(api: &Api, judge: &mut Judge, session: &str) {
    const TOKENS: &str = "/api/v1/tokens";
    const TOKEN: &str = "/api/v1/tokens/{name}";
    const SHARES: &str = "/api/v1/sessions/{id}/shares";
    const SHARE: &str = "/api/v1/sessions/{id}/shares/{share}";
    let code = api.post("/api/v1/login/code", "").await;
    judge.check("POST", "/api/v1/login/code", &code);
    let code = json!({ "code": code.json()["code"] }).to_string();
    for status in [204, 401] {
        let reply = api.post("/api/v1/login", code.clone()).await;
        assert_eq!(reply.status.as_u16(), status);
        judge.check("POST", "/api/v1/login", &reply);
    }
    let id = session.rsplit('/').next().unwrap();
    let viewer = json!({ "name": "anna", "role": "viewer", "sessions": [id], "expires_s": 600 });
    let made = api.post(TOKENS, viewer.to_string()).await;
    judge.check("POST", TOKENS, &made);
    let anna = api.with_token(made.json()["token"].as_str().unwrap());
    for body in [
        r#"{"name":"own","own":true}"#,
        r#"{"name":"labelled","labels":{"k":"v"}}"#,
        r#"{"name":"anna"}"#,
        r#"{"name":"a b"}"#,
        r#"{"name":"b","role":"king"}"#,
        r#"{"name":"b","expires_s":0}"#,
        r#"{"name":"b","own":true,"labels":{"k":"v"}}"#,
        r#"{"name":"b","sessions":["nobody"]}"#,
        "{}",
        "{",
    ] {
        judge.check("POST", TOKENS, &api.post(TOKENS, body).await);
    }
    let shares = format!("{session}/shares");
    let mut share = String::new();
    for body in
        ["{}", r#"{"mode":"rw","expires_s":null}"#, r#"{"mode":"x"}"#, r#"{"expires_s":0}"#, "{"]
    {
        let reply = api.post(&shares, body).await;
        judge.check("POST", SHARES, &reply);
        if reply.status == 201 {
            let reply = reply.json();
            judge.check("GET", "/api/v1/whoami", &{
                api.with_token(reply["token"].as_str().unwrap()).get("/api/v1/whoami").await
            });
            share = format!("{shares}/{}", reply["id"].as_str().unwrap());
        }
    }
    let nobody = "/api/v1/sessions/nobody/shares";
    judge.check("POST", SHARES, &api.post(nobody, "{}").await);
    for who in [api, &anna, &api.with_token("wrong")] {
        judge.check("GET", "/api/v1/whoami", &who.get("/api/v1/whoami").await);
        judge.check("GET", TOKENS, &who.get(TOKENS).await);
        judge.check("GET", SHARES, &who.get(&shares).await);
        judge.check("GET", SHARES, &who.get(nobody).await);
        judge.check("GET", "/api/v1/shares", &who.get("/api/v1/shares").await);
        for query in
            ["", "?limit=1&after=0", "?action=login&principal=anna", "?limit=0", "?after=x"]
        {
            let reply = who.get(&format!("/api/v1/audit{query}")).await;
            judge.check("GET", "/api/v1/audit", &reply);
        }
    }
    for who in [&anna, api] {
        judge.check("POST", "/api/v1/login/code", &who.post("/api/v1/login/code", "").await);
        judge.check("POST", SHARES, &who.post(&shares, "{}").await);
        for path in [&share, &share, &format!("{nobody}/x")] {
            judge.check("DELETE", SHARE, &who.delete(path).await);
        }
        for name in ["own", "own", "nobody"] {
            judge.check("DELETE", TOKEN, &who.delete(&format!("{TOKENS}/{name}")).await);
        }
    }
    judge.check("POST", TOKENS, &anna.post(TOKENS, "{}").await);
}

#[actix_web::test]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let api = server.api();
    let document = api.get("/openapi.json").await.ok(200);
    jsonschema::meta::validate(&document["components"]["schemas"]["Session"]).unwrap();
    let mut judge = Judge { document, seen: BTreeSet::new() };
    const LIST: &str = "/api/v1/sessions";
    const ONE: &str = "/api/v1/sessions/{id}";
    let script = r#"printf '\033]0;title\007\033]9;note\007\033[1;31mred\033[m\a'; cat"#;
    let body = json!({ "name": "one", "command": ["bash", "-c", script], "labels": { "k": "v" } });
    let (body, key) = (body.to_string(), [("Idempotency-Key", "k")]);
    let made = api.send_with(Method::POST, LIST, &key, body.clone()).await;
    judge.check("POST", LIST, &made);
    judge.check("POST", LIST, &api.send_with(Method::POST, LIST, &key, body.clone()).await);
    judge.check("POST", LIST, &api.send_with(Method::POST, LIST, &key, "{}").await);
    let fails = json!({ "command": ["/no/such"] }).to_string();
    for body in [&body, "{", "[]", r#"{"name":7}"#, r#"{"unknown":1}"#, &fails] {
        judge.check("POST", LIST, &api.post(LIST, body).await);
    }
    let long = json!({ "command": ["x".repeat(300 << 10)] }).to_string();
    judge.check("POST", LIST, &api.post(LIST, long).await);
    let mut session = made.json();
    let described = &judge.document["components"]["schemas"]["Session"]["properties"];
    // A server that belongs to no fleet names no machine.
    let of_fleets = |key: &&String| *key == "node";
    let described = described.as_object().unwrap().keys().filter(|key| !of_fleets(key));
    let described: BTreeSet<&String> = described.collect();
    let sent: BTreeSet<&String> = session.as_object().unwrap().keys().collect();
    assert_eq!(sent, described, "every member");

    let id = session["id"].as_str().unwrap().to_owned();
    let path = format!("{LIST}/{id}");
    let recording = format!("{path}/recording");
    judge.check("GET", &format!("{ONE}/recording"), &api.get(&recording).await);
    let recorded = json!({ "command": ["echo", "x"], "recording": "output" });
    let recorded = api.create(recorded).await["id"].as_str().unwrap().to_owned();
    api.get(&format!("{LIST}/{recorded}/screen?wait=text:x")).await;
    let recording = api.get(&format!("{LIST}/{recorded}/recording")).await;
    assert_eq!(recording.status.as_u16(), 200);
    judge.check("GET", &format!("{ONE}/recording"), &recording);
    let (terminal, _) = Terminal::attach(&server, &id, "cols=90&rows=20").await;
    api.get(&format!("{path}/screen?wait=text:red")).await;
    for query in ["", "?all=true", "?limit=0", "?status=IDLE", "?label=x", "?cursor=x"] {
        judge.check("GET", LIST, &api.get(&format!("{LIST}{query}")).await);
    }
    for tag in ["\"x\"", "*", "x"] {
        let reply = api.send_with(Method::GET, &path, &[("If-None-Match", tag)], "").await;
        judge.check("GET", ONE, &reply);
    }
    session = api.session(&id).await;
    assert_eq!(
        (&session["title"], &session["notification"]["body"]),
        (&json!("title"), &json!("note"))
    );
    for (tag, body) in
        [("*", r#"{"labels":{"k":"w"}}"#), ("\"x\"", "{}"), ("x", "{}"), ("*", r#"{"name":""}"#)]
    {
        let reply = api.send_with(Method::PATCH, &path, &[("If-Match", tag)], body).await;
        judge.check("PATCH", ONE, &reply);
    }
    api.create(json!({ "name": "two", "command": ["sleep", "1000"] })).await;
    let taken = api.send(Method::PATCH, &path, r#"{"name":"two"}"#).await;
    judge.check("PATCH", ONE, &taken);
    for (verb, body) in [
        ("input", "hello\n"),
        ("input?offset=1", "x"),
        ("input?client=c&offset=9", "x"),
        ("resize", r#"{"cols":100,"rows":30}"#),
        ("resize", r#"{"cols":0,"rows":30}"#),
        ("signal", r#"{"signal":"CONT"}"#),
        ("signal", r#"{"signal":"NONE"}"#),
    ] {
        let template = format!("{ONE}/{}", verb.split('?').next().unwrap());
        judge.check("POST", &template, &api.post(&format!("{path}/{verb}"), body).await);
        let nobody = api.post(&format!("{LIST}/nobody/{verb}"), body).await;
        judge.check("POST", &template, &nobody);
    }
    for look in [
        "transitions",
        "output",
        "output?offset=999999999",
        "output?offset=x",
        "screen",
        "screen?format=ansi",
        "screen?format=json&scrollback=10",
        "screen?format=json&wait=text:never&timeout_ms=0",
        "screen?wait=text:never&timeout_ms=0",
        "screen?wait=never",
        "attach",
    ] {
        let template = format!("{ONE}/{}", look.split('?').next().unwrap());
        judge.check("GET", &template, &api.get(&format!("{path}/{look}")).await);
        if look != "attach" {
            judge.check("GET", &template, &api.get(&format!("{LIST}/nobody/{look}")).await);
        }
    }
    for path in
        ["/api/v1/profiles", "/api/v1/backup", "/healthz", "/readyz", "/metrics", "/openapi.json"]
    {
        judge.check("GET", path, &api.get(path).await);
    }
    judge.check("GET", "/ws/{kind}/{id}", &api.get("/ws/terminal/x").await);
    judge.check("POST", "/api/v1/reconcile", &api.post("/api/v1/reconcile", "").await);
    judge.check("POST", "/api/v1/logout", &api.post("/api/v1/logout", "").await);
    let token = json!({ "token": api.token() }).to_string();
    for body in [&token, r#"{"token":"wrong"}"#, "{"] {
        judge.check("POST", "/api/v1/login", &api.post("/api/v1/login", body).await);
    }
    rights(&api, &mut judge, &path).await;
    let stranger = Api::new(server.address(), "wrong");
    judge.check("GET", LIST, &stranger.get(LIST).await);
    terminal.leave().await;
    let restart = format!("{ONE}/restart");
    judge.check("POST", &restart, &api.post(&format!("{path}/restart"), "").await);
    let tag = [("If-Match", "\"x\"")];
    let refused = api.send_with(Method::POST, &format!("{path}/restart"), &tag, "").await;
    judge.check("POST", &restart, &refused);
    judge.check("POST", &restart, &api.post(&format!("{LIST}/nobody/restart"), "").await);
    let waits = format!("{path}/screen?format=json&wait=text:never");
    let (waited, killed) = tokio::join!(api.get(&waits), async {
        let tag = [("If-Match", "\"x\"")];
        judge.check("DELETE", ONE, &api.send_with(Method::DELETE, &path, &tag, "").await);
        api.delete(&path).await
    });
    judge.check("GET", "/api/v1/sessions/{id}/screen", &waited);
    for reply in [killed, api.delete(&path).await, api.delete(&format!("{LIST}/nobody")).await] {
        judge.check("DELETE", ONE, &reply);
    }
    judge.check("GET", ONE, &api.get(&path).await);
    judge.check("PATCH", ONE, &api.send(Method::PATCH, &path, "{}").await);
    judge.check("POST", &format!("{ONE}/input"), &api.post(&format!("{path}/input"), "x").await);
    let transitions = api.get(&format!("{path}/transitions")).await;
    judge.check("GET", &format!("{ONE}/transitions"), &transitions);
    assert!(judge.seen.len() >= 54 + 27, "{}: {:?}", judge.seen.len(), judge.seen);
}
