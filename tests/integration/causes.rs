//! Named tokens, and who asked for what.

use crate::cli::{code_and_text, verb};
use crate::support::{Api, Event, Reply, Server, Terminal, soon};
use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

/// Another token, for an API of its own.
fn token(server: &Server, name: &str) -> Api {
    let added = verb(server, &["token", "add", name]);
    assert!(added.status.success(), "{added:?}");
    let token = String::from_utf8(added.stdout).unwrap();
    Api::new(server.address(), token.trim())
}

/// Status, reason and cause of each transition. All come from this machine.
async fn history(api: &Api, id: &str) -> Vec<(String, String, Option<String>)> {
    let reply = api.get(&format!("/api/v1/sessions/{id}/transitions")).await.ok(200);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let told = |row: &Value| {
        let address = if row["caused_by"].is_null() { Value::Null } else { json!("127.0.0.1") };
        assert_eq!(row["address"], address, "{row}");
        (text(&row["to_status"]).unwrap(), text(&row["reason"]).unwrap(), text(&row["caused_by"]))
    };
    reply["transitions"].as_array().unwrap().iter().map(told).collect()
}

fn row(status: &str, reason: &str, by: Option<&str>) -> (String, String, Option<String>) {
    (status.to_owned(), reason.to_owned(), by.map(str::to_owned))
}

async fn attach(api: &Api, id: &str) -> Terminal {
    let path = format!("/api/v1/sessions/{id}/attach");
    let mut terminal = Terminal::open(api, &path, Some("stayd.v1")).await;
    let Event::Control(attached) = terminal.next().await else { panic!("not attached") };
    assert_eq!(attached["type"], "attached");
    terminal
}

#[actix_web::test]
async fn transitions_say_who_asked() {
    let mut server = Server::start().await;
    let owner = server.api();
    let anna = token(&server, "anna");
    let id = owner.run("sleep 1000").await;
    let (first, second) = (attach(&anna, &id).await, attach(&owner, &id).await);
    first.leave().await;
    let count = format!("SELECT active_connections FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&count, "1").await;
    second.leave().await;
    server.wait_for_sql(&count, "0").await;
    anna.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let expected = [
        row("RUNNING", "created", Some("owner")),
        row("ACTIVE", "attached", Some("anna")),
        row("IDLE", "detached", Some("owner")),
        row("TERMINATED", "killed", Some("anna")),
    ];
    assert_eq!(history(&owner, &id).await, expected);
    let logged = server.wait_for_log("the kill", |line| line["reason"] == "killed").await;
    assert_eq!((&logged["caused_by"], &logged["address"]), (&json!("anna"), &json!("127.0.0.1")));

    // Started again, by her: once it lives, and once it has ended.
    let again = owner.run("sleep 1000").await;
    let restart = format!("/api/v1/sessions/{again}/restart");
    anna.post(&restart, "").await.ok(200);
    owner.delete(&format!("/api/v1/sessions/{again}")).await.ok(200);
    anna.post(&restart, "").await.ok(200);
    let expected = [
        row("RUNNING", "created", Some("owner")),
        row("TERMINATED", "killed", Some("anna")),
        row("RUNNING", "restarted", Some("anna")),
        row("TERMINATED", "killed", Some("owner")),
        row("RUNNING", "restarted", Some("anna")),
    ];
    assert_eq!(history(&owner, &again).await, expected);

    // A signal that was asked for; one that nobody asked for; an exit; a timer.
    let asked = anna.run("sleep 1000").await;
    let ended = |id: &str| format!("SELECT ended_at IS NOT NULL FROM sessions WHERE id = '{id}'");
    let signal = format!("/api/v1/sessions/{asked}/signal");
    owner.post(&signal, r#"{"signal":"TERM","to":"tree"}"#).await.ok(200);
    server.wait_for_sql(&ended(&asked), "1").await;
    let created = row("RUNNING", "created", Some("anna"));
    let killed = row("TERMINATED", "signaled", Some("owner"));
    assert_eq!(history(&owner, &asked).await, [created.clone(), killed]);
    for (script, status, reason) in
        [("kill -SEGV $$", "ERROR", "signaled"), ("exit 0", "TERMINATED", "exited")]
    {
        let id = anna.run(script).await;
        server.wait_for_sql(&ended(&id), "1").await;
        assert_eq!(history(&owner, &id).await, [created.clone(), row(status, reason, None)]);
    }
    let command = json!(["sleep", "1000"]);
    let timed = anna.create(json!({ "command": command, "first_attach_timeout_s": 0 })).await;
    let timed = timed["id"].as_str().unwrap();
    server.wait_for_sql(&ended(timed), "1").await;
    let end = row("TERMINATED", "first_attach_timeout", None);
    assert_eq!(history(&owner, timed).await, [created, end]);
}

#[actix_web::test]
async fn who_asked_for_a_kill_is_known_after_a_crash_in_its_middle() {
    let mut server = Server::start().await;
    let anna = token(&server, "anna");
    let id = anna.run("trap '' HUP TERM; echo up; while :; do sleep 1; done").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("up").await;
    let (asker, path) = (anna.clone(), format!("/api/v1/sessions/{id}"));
    let kill = actix_web::rt::spawn(async move { asker.try_send(Method::DELETE, &path, "").await });
    let intent = format!("SELECT ending_reason FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&intent, "killed").await;
    server.kill();
    assert!(kill.await.unwrap().is_err(), "the server died before it was done");
    server.restart().await;
    let status = format!("SELECT status FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&status, "TERMINATED").await;
    let last = history(&server.api(), &id).await.pop();
    assert_eq!(last, Some(row("TERMINATED", "killed", Some("anna"))));
}

/// Logs in; the cookie.
async fn log_in(api: &Api) -> String {
    let body = json!({ "token": api.token() }).to_string();
    let reply = api.send(Method::POST, "/api/v1/login", body).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let cookie = reply.headers.get("set-cookie").expect("a cookie").to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Asks with a cookie alone.
async fn by_cookie(api: &Api, cookie: &str) -> u16 {
    let request = awc::Client::default()
        .get(format!("{}/api/v1/sessions", api.base()))
        .insert_header(("Cookie", cookie.to_owned()));
    soon("an answer", request.send()).await.expect("an answer").status().as_u16()
}

/// The names of all tokens.
fn names(server: &Server) -> Vec<String> {
    let (code, text) = code_and_text(&verb(server, &["token", "ls", "--json"]));
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(code, Some(0));
    let name = |token: &Value| {
        assert_eq!(token["token"], Value::Null, "no secret");
        token["name"].as_str().expect("a name").to_owned()
    };
    listed["tokens"].as_array().expect("tokens").iter().map(name).collect()
}

#[actix_web::test]
async fn a_removed_token_opens_nothing_any_more() {
    let mut server = Server::start().await;
    let owner = server.api();
    let (anna, bert) = (token(&server, "anna"), token(&server, "bert"));
    let cookies = [log_in(&owner).await, log_in(&anna).await, log_in(&bert).await];
    let id = owner.run("sleep 1000").await;
    let (mut hers, mut his) = (attach(&anna, &id).await, attach(&bert, &id).await);
    assert_eq!(names(&server), ["anna", "bert"]);
    let (_, listed) = code_and_text(&verb(&server, &["token", "ls"]));
    assert!(listed.starts_with("NAME ") && listed.contains("\nanna "), "{listed}");
    assert!([&anna, &bert].iter().all(|api| !listed.contains(api.token())), "{listed}");
    assert!(verb(&server, &["token", "rm", "anna"]).status.success());
    let refused: Reply = anna.get("/api/v1/sessions").await;
    refused.problem(401, "unauthorized");
    let login = json!({ "token": anna.token() }).to_string();
    anna.send(Method::POST, "/api/v1/login", login).await.problem(401, "unauthorized");
    bert.get("/api/v1/sessions").await.ok(200);
    owner.get("/api/v1/sessions").await.ok(200);
    for (cookie, status) in cookies.iter().zip([200, 401, 200]) {
        assert_eq!(by_cookie(&owner, cookie).await, status);
    }
    // What she had opened is closed.
    assert_eq!(
        hers.closed().await,
        (1008, "the token is no longer valid; do not retry".to_owned())
    );
    his.type_in("x").await;
    assert_eq!(his.control("input").await["received"], 1, "he stays");

    // All that holds in the next server too, and a new token of this name is another.
    server.kill_and_restart().await;
    anna.get("/api/v1/sessions").await.problem(401, "unauthorized");
    let again = token(&server, "anna");
    again.get("/api/v1/sessions").await.ok(200);
    anna.get("/api/v1/sessions").await.problem(401, "unauthorized");
    for (cookie, status) in cookies.iter().zip([200, 401, 200]) {
        assert_eq!(by_cookie(&owner, cookie).await, status);
    }
    assert_eq!(names(&server), ["anna", "bert"]);
    for (args, said) in [
        (["token", "add", "anna"], "\"anna\""),
        (["token", "add", "owner"], "owner"),
        (["token", "add", "a b"], "name"),
        (["token", "rm", "nobody"], "\"nobody\""),
        (["token", "rm", "owner"], "\"owner\""),
    ] {
        let (code, text) = code_and_text(&verb(&server, &args));
        assert!(code == Some(1) && text.contains(said), "{args:?}: {code:?} {text}");
    }
}
