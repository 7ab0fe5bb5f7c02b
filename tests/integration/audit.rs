//! The audit log: who did what, from where, and what was refused; and that no secret is in it.

use crate::cli::verb;
use crate::support::{Api, Server, soon};
use awc::http::Method;
use awc::ws::Message;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

async fn entries(owner: &Api, query: &str) -> Vec<Value> {
    let log = owner.get(&format!("/api/v1/audit?limit=1000&{query}")).await.ok(200);
    log["entries"].as_array().unwrap().clone()
}

/// Action and outcome of each entry.
fn told(entries: &[Value]) -> Vec<String> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    entries.iter().map(|e| format!("{} {}", text(e, "action"), text(e, "outcome"))).collect()
}

#[actix_web::test]
async fn what_is_done_and_refused_is_written_down_without_secrets() {
    let mut server = Server::start().await;
    let owner = server.api();
    let made = json!({ "name": "anna", "role": "viewer" }).to_string();
    let made = owner.post("/api/v1/tokens", made).await.ok(201);
    let anna = owner.with_token(made["token"].as_str().unwrap());
    let session = owner.create(json!({ "command": ["cat"] })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}");
    anna.delete(&path).await.problem(403, "forbidden");
    for _ in 0..3 {
        anna.get(&format!("{path}/screen")).await;
    }
    owner.send(Method::PATCH, &path, r#"{"name":"renamed"}"#).await.ok(200);
    let (_, mut socket) = soon("a WebSocket", {
        let url = format!("{}{path}/attach", owner.base());
        let bearer = format!("Bearer {}", owner.token());
        let client = awc::Client::builder().max_http_version(awc::http::Version::HTTP_11).finish();
        client.ws(url).set_header("Authorization", bearer).protocols(["stayd.v1"]).connect()
    })
    .await
    .expect("attached");
    for text in ["a", "b"] {
        socket.send(Message::Binary(text.into())).await.expect("typed");
    }
    socket.send(Message::Close(None)).await.expect("closed");
    soon("the end", async { while let Some(Ok(_)) = socket.next().await {} }).await;
    drop(socket);
    owner.post(&format!("{path}/shares"), "{}").await.ok(201);
    owner.post(&format!("{path}/restart"), "{}").await.ok(200);
    owner.delete(&path).await.ok(200);
    let wrong = json!({ "token": "a-wrong-token-of-nobody" }).to_string();
    owner.with_token("").post("/api/v1/login", wrong).await.problem(401, "unauthorized");
    let code = owner.post("/api/v1/login/code", "").await.ok(201);
    let code = json!({ "code": code["code"] }).to_string();
    assert_eq!(owner.post("/api/v1/login", code).await.status.as_u16(), 204);

    let detached = soon("the detach", async {
        loop {
            let of_session = entries(&owner, &format!("session={id}")).await;
            if told(&of_session).contains(&"session.detach done".to_owned()) {
                return of_session;
            }
        }
    });
    let mut done = told(&detached.await);
    done.sort();
    assert_eq!(
        done,
        [
            "session.attach done",
            "session.change done",
            "session.create done",
            "session.detach done",
            "session.end done",
            "session.end refused",
            "session.input done",
            "session.restart done",
            "session.screen done",
            "session.share done",
        ]
    );
    let by_anna = entries(&owner, "principal=anna").await;
    assert_eq!(told(&by_anna), ["session.end refused", "session.screen done"]);
    assert_eq!(by_anna[0]["address"], "127.0.0.1");
    let logins = entries(&owner, "action=login").await;
    assert_eq!(told(&logins), ["login refused", "login done"]);
    assert_eq!(
        (&logins[0]["principal"], &logins[0]["address"]),
        (&json!(null), &json!("127.0.0.1"))
    );
    assert_eq!(logins[1]["principal"], "owner");
    anna.get("/api/v1/audit").await.problem(403, "forbidden");

    // It outlives the server, and goes on where somebody was.
    let before = owner.get("/api/v1/audit").await.ok(200)["last"].as_i64().unwrap();
    server.kill_and_restart().await;
    let owner = server.api();
    owner.create(json!({ "command": ["cat"] })).await;
    let after = entries(&owner, &format!("after={before}")).await;
    assert!(told(&after).contains(&"session.create done".to_owned()), "{after:?}");
    let all = format!("{:?}", entries(&owner, "").await);
    for secret in [owner.token(), anna.token(), "a-wrong-token-of-nobody"] {
        assert!(!all.contains(secret));
    }

    // The verb prints it, over the unix socket.
    let printed = verb(&server, &["audit", "--principal", "anna"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(printed.contains("refused  session.end  anna  127.0.0.1"), "{printed}");
    verb(&server, &["ls"]);
    verb(&server, &["kill", &id]);
    let json = verb(&server, &["audit", "--json", "--limit", "1"]).stdout;
    let last: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(last["address"], "local", "{last}");
}

#[actix_web::test]
async fn tokens_links_and_logins_are_named() {
    let server = Server::start().await;
    let owner = server.api();
    let made = json!({ "name": "anna", "role": "viewer" }).to_string();
    let secret = owner.post("/api/v1/tokens", made.clone()).await.ok(201)["token"].clone();
    owner.post("/api/v1/tokens", made).await.problem(409, "name_taken");
    let long = json!({ "name": format!("\n{}", "x".repeat(1000)) }).to_string();
    owner.post("/api/v1/tokens", long).await.problem(400, "invalid_request");
    owner.get("/api/v1/tokens").await.ok(200);
    let login = json!({ "token": secret }).to_string();
    assert_eq!(owner.post("/api/v1/login", login).await.status.as_u16(), 204);
    let login = owner.get("/api/v1/logins").await.ok(200)["logins"][0]["id"].clone();
    let login = login.as_str().unwrap();
    assert_eq!(owner.delete(&format!("/api/v1/logins/{login}")).await.status.as_u16(), 204);
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    owner.delete("/api/v1/tokens/anna").await.problem(404, "not_found");
    let session = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
    let shares = format!("/api/v1/sessions/{}/shares", session.as_str().unwrap());
    let share = owner.post(&shares, "{}").await.ok(201)["id"].clone();
    let share = share.as_str().unwrap();
    owner.get(&shares).await.ok(200);
    assert_eq!(owner.delete(&format!("{shares}/{share}")).await.status.as_u16(), 204);
    let told = async |action: &str| {
        let entries = entries(&owner, &format!("action={action}")).await;
        let detail = |entry: &Value| entry["detail"].as_str().unwrap_or("-").to_owned();
        entries.iter().map(detail).collect::<Vec<_>>()
    };
    let cut = "x".repeat(63);
    assert_eq!(
        told("tokens").await,
        [
            "add token anna",
            "add token anna: status 409",
            &format!("add token \\n{cut}: status 400"),
            "remove token anna",
            "remove token anna: status 404",
        ]
    );
    assert_eq!(told("logins").await, [format!("end login {login}")]);
    let shares = [format!("add share {share}"), format!("end share {share}")];
    assert_eq!(told("session.share").await, shares);
}

/// Requests that come to nothing are one entry a minute, however many there are.
#[actix_web::test]
async fn nobody_floods_the_log_with_what_comes_to_nothing() {
    const TIMES: usize = 20;
    let server = Server::start().await;
    let owner = server.api();
    let made = json!({ "name": "anna" }).to_string();
    let anna = async || {
        let made = owner.post("/api/v1/tokens", made.clone()).await.ok(201);
        owner.with_token(made["token"].as_str().unwrap())
    };
    let first = anna().await;
    let session = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
    let shares = format!("/api/v1/sessions/{}/shares", session.as_str().unwrap());
    let link = owner.post(&shares, "{}").await.ok(201);
    let guest = owner.with_token(link["token"].as_str().unwrap());
    let login = json!({ "token": guest.token() }).to_string();
    for n in 0..TIMES {
        let path = format!("/api/v1/sessions/none-{n}");
        first.delete(&path).await.problem(404, "not_found");
        first.send(Method::PATCH, &path, "{}").await.problem(404, "not_found");
        first.post(&format!("{path}/restart"), "{}").await.problem(404, "not_found");
        first.delete(&format!("/api/v1/logins/{n}")).await.problem(404, "not_found");
        assert_eq!(guest.post("/api/v1/login", login.clone()).await.status.as_u16(), 204);
        assert_eq!(guest.post("/api/v1/logout", "").await.status.as_u16(), 204);
    }
    let by_anna = told(&entries(&owner, "principal=anna").await);
    let once = ["logins failed", "session.change failed", "session.end failed"];
    let mut sorted = by_anna.clone();
    sorted.sort();
    assert_eq!(sorted, [&once[..], &["session.restart failed"]].concat());
    let of_guest = format!("principal=share-{}", link["id"].as_str().unwrap());
    let by_guest = told(&entries(&owner, &of_guest).await);
    assert!(by_guest.len() <= 2, "{by_guest:?}");
    // A later token of the same name is another principal, whose first time it is.
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    anna().await.delete("/api/v1/sessions/none").await.problem(404, "not_found");
    let ends = entries(&owner, "principal=anna&action=session.end").await;
    assert_eq!(told(&ends), ["session.end failed"; 2]);
}

#[actix_web::test]
async fn a_logout_is_told_of_whose_login_has_ended() {
    let server = Server::start().await;
    let owner = server.api();
    let token = async |name: &str| {
        let made = owner.post("/api/v1/tokens", json!({ "name": name }).to_string()).await.ok(201);
        owner.with_token(made["token"].as_str().unwrap())
    };
    let (anna, ben) = (token("anna").await, token("ben").await);
    let login = json!({ "token": anna.token() }).to_string();
    let login = anna.post("/api/v1/login", login).await;
    let cookie = login.headers.get("set-cookie").unwrap().to_str().unwrap();
    let cookie = [("Cookie", cookie.split(';').next().unwrap())];
    for _ in 0..2 {
        let out = ben.send_with(Method::POST, "/api/v1/logout", &cookie, "").await;
        assert_eq!(out.status.as_u16(), 204);
    }
    let logouts = entries(&owner, "action=logout").await;
    // The second time there is no login any more.
    let whose: Vec<_> = logouts.iter().map(|entry| entry["principal"].as_str()).collect();
    assert_eq!(whose, [Some("anna")]);
}

/// Nor by asking for another thing each time.
#[actix_web::test]
async fn a_principal_that_is_refused_everywhere_is_written_down_a_bounded_number_of_times() {
    let server = Server::start().await;
    let owner = server.api();
    let made = json!({ "name": "anna", "role": "viewer" }).to_string();
    let made = owner.post("/api/v1/tokens", made).await.ok(201);
    let anna = owner.with_token(made["token"].as_str().unwrap());
    for _ in 0..45 {
        let session = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
        let path = format!("/api/v1/sessions/{}", session.as_str().unwrap());
        anna.delete(&path).await.problem(403, "forbidden");
        anna.send(Method::PATCH, &path, "{}").await.problem(403, "forbidden");
        for (what, body) in [
            ("restart", "{}"),
            ("signal", r#"{"signal":"INT"}"#),
            ("resize", r#"{"cols":80,"rows":24}"#),
            ("shares", "{}"),
        ] {
            anna.post(&format!("{path}/{what}"), body).await.problem(403, "forbidden");
        }
    }
    assert_eq!(entries(&owner, "principal=anna").await.len(), 256);
}
