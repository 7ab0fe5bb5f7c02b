//! Rights: every route for every kind of principal, share links, scopes and their ends.

use crate::cli::{code_and_text, verb};
use crate::support::{Api, Server, Socket, soon};
use actix_web::rt::task::JoinHandle;
use awc::error::WsClientError;
use awc::http::Method;
use awc::ws::Frame;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long after a right has gone something may still be open.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

/// What a principal may do, and with which sessions.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Role {
    Viewer,
    Controller,
    Admin,
}
use Role::{Admin, Controller, Viewer};

/// The role that each action needs, as the design has it and not as the server computes it.
const ACTIONS: [(&str, Role); 33] = [
    ("nodes", Viewer),
    ("push", Viewer),
    ("logins", Viewer),
    ("ready", Viewer),
    ("identify", Viewer),
    ("session.list", Viewer),
    ("session.read", Viewer),
    ("session.transitions", Viewer),
    ("session.screen", Viewer),
    ("session.output", Viewer),
    ("session.recording", Viewer),
    ("events", Viewer),
    ("session.attach", Viewer),
    ("profiles", Controller),
    ("session.create", Controller),
    ("session.report", Controller),
    ("session.input", Controller),
    ("session.upload", Controller),
    ("session.download", Controller),
    ("session.resize", Controller),
    ("session.signal", Controller),
    ("session.change", Controller),
    ("session.restart", Controller),
    ("session.end", Controller),
    ("session.share", Controller),
    ("shares", Controller),
    ("tokens", Admin),
    ("login_code", Admin),
    ("audit", Admin),
    ("backup", Admin),
    ("reconcile", Admin),
    ("metrics", Admin),
    ("session.purge", Admin),
];

/// What the document says that everybody may do.
const PUBLIC: [&str; 2] = ["logIn", "isAlive"];

/// A request of the document.
#[derive(Debug)]
struct Route {
    method: Method,
    path: String,
    id: String,
    action: Option<String>,
}

async fn routes(api: &Api) -> Vec<Route> {
    let document = api.get("/openapi.json").await.ok(200);
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            routes.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                id: operation["operationId"].as_str().unwrap().to_owned(),
                action: operation["x-stayd-action"].as_str().map(str::to_owned),
            });
        }
    }
    routes
}

/// A body that each route accepts.
fn body(id: &str) -> Value {
    match id {
        "createSession" => json!({ "command": ["sleep", "1000"] }),
        "changeSession" => json!({ "idle_timeout_s": 1000 }),
        "sendSignal" => json!({ "signal": "CONT" }),
        "makeToken" => json!({ "name": format!("t-{}", uuid::Uuid::now_v7().simple()) }),
        "report" => json!({ "state": "working" }),
        "makeShare" => json!({ "mode": "ro" }),
        _ => json!({ "cols": 90, "rows": 30 }),
    }
}

/// A principal of the matrix.
struct Caller {
    what: &'static str,
    api: Api,
    sees: Sees,
}

/// What a principal may do to the session of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sees {
    /// Nothing: it has no rights, or none any more.
    Nobody,
    /// All sessions.
    All(Role),
    /// Other sessions alone.
    Others(Role),
    /// This session alone, by a link.
    Share(Role),
}

/// The statuses that a principal may get.
fn expected(sees: Sees, action: &str, needs: Role) -> &'static [u16] {
    let on_session =
        action.starts_with("session.") && !["session.list", "session.create"].contains(&action);
    match sees {
        Sees::Nobody => &[401],
        Sees::All(role) if role >= needs => &[],
        Sees::All(_) => &[403],
        // A session out of scope does not exist.
        Sees::Others(_) if on_session => &[404],
        Sees::Others(role) => match action {
            "session.create" => &[403],
            _ if needs == Admin => &[403],
            _ if role >= needs => &[],
            _ => &[403],
        },
        Sees::Share(role) => match action {
            "session.share" | "shares" | "session.create" | "profiles" | "ready" | "logins"
            | "push" | "nodes" => &[403],
            "session.upload" | "session.download" => &[403],
            _ if needs == Admin => &[403],
            _ if role >= needs => &[],
            _ => &[403],
        },
    }
}

async fn token(owner: &Api, body: Value) -> Api {
    let made = owner.post("/api/v1/tokens", body.to_string()).await.ok(201);
    owner.with_token(made["token"].as_str().unwrap())
}

async fn share(owner: &Api, session: &str, mode: &str) -> (Api, String) {
    let path = format!("/api/v1/sessions/{session}/shares");
    let made = owner.post(&path, json!({ "mode": mode }).to_string()).await.ok(201);
    let url = made["url"].as_str().unwrap();
    let secret = made["token"].as_str().unwrap();
    assert_eq!(url, format!("{}/#share={secret}", owner.base()));
    (owner.with_token(secret), made["id"].as_str().unwrap().to_owned())
}

async fn attach(api: &Api, session: &str, query: &str) -> Socket {
    let path = format!("{}/api/v1/sessions/{session}/attach?{query}", api.base());
    let bearer = format!("Bearer {}", api.token());
    let request = awc::Client::builder()
        .max_http_version(awc::http::Version::HTTP_11)
        .finish()
        .ws(path)
        .set_header("Authorization", bearer)
        .protocols(["stayd.v1"]);
    soon("WebSocket", request.connect()).await.expect("attached").1
}

/// Collects all events from now on, until one is the end of the session that is sent.
async fn listen(api: &Api) -> (oneshot::Sender<String>, JoinHandle<String>) {
    let url = format!("{}/api/v1/events", api.base());
    let bearer = format!("Bearer {}", api.token());
    let request = awc::Client::builder().disable_timeout().finish().get(url);
    let request = request.insert_header(("Authorization", bearer));
    let mut body = soon("events", request.send()).await.expect("an answer");
    let (tell, told) = oneshot::channel::<String>();
    let heard = actix_web::rt::spawn(async move {
        let (mut text, mut last) = (String::new(), None);
        let mut told = Box::pin(told);
        loop {
            tokio::select! {
                session = &mut told, if last.is_none() => last = session.ok(),
                piece = body.next() => {
                    text += &String::from_utf8_lossy(&piece.expect("a piece").expect("a piece"));
                }
            }
            let ends = |line: &str, id: &str| line.contains(id) && line.contains("end_reason");
            if last.as_ref().is_some_and(|id| text.lines().any(|line| ends(line, id))) {
                return text;
            }
        }
    });
    (tell, heard)
}

async fn sleeper(owner: &Api) -> String {
    let session = owner.create(json!({ "command": ["sleep", "1000"] })).await;
    session["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn every_route_asks_for_the_right_that_the_document_names() {
    let server = Server::start().await;
    let owner = server.api();
    let other = sleeper(&owner).await;
    let mut standing = vec![
        Caller { what: "nobody", api: owner.with_token(""), sees: Sees::Nobody },
        Caller { what: "owner", api: owner.clone(), sees: Sees::All(Admin) },
    ];
    for (what, role) in [("viewer", Viewer), ("controller", Controller), ("admin", Admin)] {
        let all = token(&owner, json!({ "name": format!("all-{what}"), "role": what })).await;
        standing.push(Caller { what, api: all, sees: Sees::All(role) });
        let scoped = json!({ "name": format!("scoped-{what}"), "role": what, "sessions": [other] });
        let scoped = token(&owner, scoped).await;
        standing.push(Caller { what: "of another session", api: scoped, sees: Sees::Others(role) });
    }
    let removed = token(&owner, json!({ "name": "removed", "role": "admin" })).await;
    let gone = owner.delete("/api/v1/tokens/removed").await;
    assert_eq!(gone.status.as_u16(), 204);
    let expired = json!({ "name": "expired", "role": "admin", "expires_s": 1 });
    let expired = token(&owner, expired).await;
    soon("the token's end", async {
        while expired.get("/api/v1/whoami").await.status.as_u16() != 401 {
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    standing.push(Caller { what: "removed", api: removed, sees: Sees::Nobody });
    standing.push(Caller { what: "expired", api: expired, sees: Sees::Nobody });

    let mut wrong = Vec::new();
    for route in routes(&owner).await {
        if PUBLIC.contains(&route.id.trim_end_matches("_head")) {
            assert_eq!(route.action, None, "{route:?}");
            continue;
        }
        let Some(action) = route.action.as_deref() else {
            panic!("{route:?} names no x-stayd-action");
        };
        let needs = ACTIONS.iter().find(|(name, _)| *name == action);
        let &(_, needs) = needs.unwrap_or_else(|| panic!("no role is known for {action}"));
        if action == "session.attach" || route.id == "logOut" {
            continue; // Attaching has a test of its own; logging out ends the cookie's login.
        }
        // What the route changes or ends is a new session each time.
        let session = sleeper(&owner).await;
        let ((ro, _), (rw, _)) =
            (share(&owner, &session, "ro").await, share(&owner, &session, "rw").await);
        let shares = [
            Caller { what: "share ro", api: ro, sees: Sees::Share(Viewer) },
            Caller { what: "share rw", api: rw, sees: Sees::Share(Controller) },
        ];
        for Caller { what, api, sees } in standing.iter().chain(&shares) {
            let expected = expected(*sees, action, needs);
            // One that is allowed may end or change it for those that come later.
            let session = match expected.is_empty() && !matches!(sees, Sees::Share(_)) {
                true => sleeper(&owner).await,
                false => session.clone(),
            };
            let path =
                route.path.replace("{id}", &session).replace("{name}", "nobody-of-this-name");
            let path = path.replace("{share}", &session).replace("{login}", &session);
            let path = path.replace("{subscription}", &session);
            let path = if route.path == "/api/v1/events" {
                format!("{path}?session={other}")
            } else {
                path
            };
            if route.path == "/api/v1/events" && expected.is_empty() && *sees != Sees::Nobody {
                continue; // A stream without an end; `what_is_out_of_scope…` reads it.
            }
            let status = api.send(route.method.clone(), &path, body(&route.id).to_string()).await;
            let status = status.status.as_u16();
            // These name nothing: 404 says that one may.
            let named = ["{name}", "{share}", "{login}", "{subscription}"];
            let names_nothing = named.iter().any(|name| route.path.contains(name));
            let good = match expected {
                [] => {
                    ![401, 403].contains(&status)
                        && (status != 404 || names_nothing || route.id.contains("ecording"))
                }
                expected => {
                    expected.contains(&status)
                        || (names_nothing && expected == [404] && status == 404)
                }
            };
            if !good {
                wrong.push(format!(
                    "{} {} ({action}) as {what} {sees:?}: {status}",
                    route.method, route.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[actix_web::test]
async fn all_links_are_listed_of_the_sessions_that_exist_for_one() {
    let server = Server::start().await;
    let owner = server.api();
    let named = owner.create(json!({ "command": ["sleep", "1000"], "name": "work" })).await;
    let (one, two) = (named["id"].as_str().unwrap(), sleeper(&owner).await);
    let ((_, first), (_, second)) =
        (share(&owner, one, "ro").await, share(&owner, &two, "rw").await);
    let listed = async |api: &Api| {
        let shares = api.get("/api/v1/shares").await.ok(200)["shares"].take();
        let of = |share: &Value| (share["id"].clone(), share["session"].clone());
        shares.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let first_of = (json!(first), json!({ "id": one, "name": "work" }));
    let second_of = (json!(second), json!({ "id": two, "name": null }));
    assert_eq!(listed(&owner).await, [first_of.clone(), second_of]);
    let scoped = json!({ "name": "scoped", "sessions": [one] });
    assert_eq!(listed(&token(&owner, scoped).await).await, [first_of]);
    let viewer = token(&owner, json!({ "name": "viewer", "role": "viewer" })).await;
    viewer.get("/api/v1/shares").await.problem(403, "forbidden");
    let (_, table) = code_and_text(&verb(&server, &["share", "--list"]));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("SESSION"), "{table}");
    assert!(lines[1].starts_with("work ") && lines[1].contains(&first), "{table}");
    assert!(lines[2].starts_with(&two) && lines[2].contains(" rw "), "{table}");
    let (code, told) = code_and_text(&verb(&server, &["share"]));
    assert!(code == Some(2) && told.contains("SESSION"), "{told}");
}

#[actix_web::test]
async fn attaching_is_refused_before_the_upgrade_and_messages_after_it() {
    let server = Server::start().await;
    let owner = server.api();
    let (session, other) = (sleeper(&owner).await, sleeper(&owner).await);
    let viewer = token(&owner, json!({ "name": "viewer", "role": "viewer" })).await;
    let scoped = json!({ "name": "scoped", "role": "admin", "sessions": [other] });
    let scoped = token(&owner, scoped).await;
    let (ro, _) = share(&owner, &session, "ro").await;
    let (rw, _) = share(&owner, &session, "rw").await;
    let upgrade = |api: &Api, query: &str| {
        let request = awc::Client::new()
            .ws(format!("{}/api/v1/sessions/{session}/attach?{query}", api.base()));
        let bearer = format!("Bearer {}", api.token());
        let request = request.set_header("Authorization", bearer).protocols(["stayd.v1"]);
        async move { soon("an answer", request.connect()).await }
    };
    for (what, api, query, may) in [
        ("a viewer types", &viewer, "mode=rw", false),
        ("a viewer looks", &viewer, "mode=ro", true),
        ("a viewer comes", &viewer, "", true),
        ("a link to look types", &ro, "mode=rw", false),
        ("a link to look looks", &ro, "", true),
        ("a link to type types", &rw, "mode=rw", true),
        ("the owner types", &owner, "mode=rw", true),
    ] {
        let upgraded = upgrade(api, query).await;
        assert_eq!(upgraded.is_ok(), may, "{what}");
        if let Err(error) = upgraded {
            let refused = matches!(&error, WsClientError::InvalidResponseStatus(status) if status.as_u16() == 403);
            assert!(refused, "{what}: {error:?}");
        }
    }
    // What is out of scope is closed as what does not exist.
    let (_, mut socket) = upgrade(&scoped, "mode=ro").await.expect("upgraded");
    let closed = soon("a close", async {
        while let Some(Ok(frame)) = socket.next().await {
            if let Frame::Close(Some(reason)) = frame {
                return u16::from(reason.code);
            }
        }
        0
    });
    assert_eq!(closed.await, 4404);
    // Every message of a client that may only look is refused, or does nothing.
    let (_, mut socket) = upgrade(&ro, "").await.expect("upgraded");
    for message in [
        awc::ws::Message::Binary("x".into()),
        awc::ws::Message::Text(r#"{"type":"resize","cols":50,"rows":20}"#.into()),
    ] {
        socket.send(message).await.expect("sent");
        let refused = soon("a refusal", async {
            loop {
                let frame = socket.next().await.expect("a frame").expect("a frame");
                if let Frame::Text(text) = frame {
                    let text: Value = serde_json::from_slice(&text).unwrap();
                    if text["type"] == "error" {
                        return text["code"].as_str().unwrap().to_owned();
                    }
                }
            }
        });
        assert_eq!(refused.await, "read_only");
    }
}

#[actix_web::test]
async fn a_share_shows_one_session_and_not_its_surroundings() {
    let server = Server::start().await;
    let owner = server.api();
    let secret = json!({ "command": ["sh", "-c", "echo seen; sleep 1000"], "cwd": "/tmp",
        "labels": { "team": "hidden" }, "name": "shared" });
    let session = owner.create(secret).await["id"].as_str().unwrap().to_owned();
    sleeper(&owner).await;
    let (share, _) = share(&owner, &session, "rw").await;
    let path = format!("/api/v1/sessions/{session}");
    let listed = share.get("/api/v1/sessions?all=true").await.ok(200);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(owner.get(&path).await.ok(200)["cwd"], "/tmp");
    let changed = share.send(Method::PATCH, &path, r#"{"idle_timeout_s":100}"#).await.ok(200);
    let stale = share
        .send_with(Method::PATCH, &path, &[("If-Match", "\"old\"")], r#"{"idle_timeout_s":9}"#)
        .await
        .problem(412, "changed");
    let resized = share.post(&format!("{path}/resize"), r#"{"cols":70,"rows":20}"#).await.ok(200);
    let read = share.get(&path).await.ok(200);
    for shown in [&read, &listed["sessions"][0], &changed, &resized, &stale["session"]] {
        assert_eq!(shown["id"], session.as_str());
        for hidden in ["command", "cwd", "labels", "pid", "owner"] {
            let empty = [json!(null), json!(""), json!([]), json!({})];
            assert!(empty.contains(&shown[hidden]), "{hidden}: {shown}");
        }
    }
    let transitions = share.get(&format!("{path}/transitions")).await.ok(200);
    let text = transitions.to_string();
    assert!(!text.contains("owner") && !text.contains("127.0.0.1"), "{text}");
    // The names of others are not told, neither at first nor later.
    let mut watcher = attach(&owner, &session, "client=the-owners-laptop").await;
    let mut guest = attach(&share, &session, "client=guest").await;
    let told = soon("a state", async {
        loop {
            if let Frame::Text(text) = guest.next().await.expect("a frame").expect("a frame") {
                let text = String::from_utf8(text.to_vec()).unwrap();
                assert!(!text.contains("the-owners-laptop"), "{text}");
                if text.contains(r#""type":"state""#) {
                    return text;
                }
            }
        }
    });
    assert!(told.await.contains("somebody"));
    watcher.send(awc::ws::Message::Close(None)).await.expect("sent");
    let ended = share.delete(&path).await.ok(200);
    assert_eq!(ended["command"], json!([]));
}

#[actix_web::test]
async fn what_is_out_of_scope_is_in_no_list_and_no_event() {
    let server = Server::start().await;
    let owner = server.api();
    let labelled = json!({ "name": "labelled", "role": "controller", "labels": { "team": "a" } });
    let labelled = token(&owner, labelled).await;
    let own = token(&owner, json!({ "name": "own", "role": "controller", "own": true })).await;
    let (until, heard) = listen(&labelled).await;
    let make = |labels: Value| json!({ "command": ["sleep", "1000"], "labels": labels });
    let seen = owner.create(make(json!({ "team": "a", "x": "y" }))).await["id"].clone();
    let unseen = owner.create(make(json!({ "team": "b" }))).await["id"].clone();
    let ids = |list: Value| -> String {
        let sessions = list["sessions"].as_array().unwrap().iter();
        sessions.map(|session| session["id"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(labelled.get("/api/v1/sessions").await.ok(200)), seen.as_str().unwrap());
    assert!(ids(own.get("/api/v1/sessions").await.ok(200)).is_empty());
    let refused = labelled.post("/api/v1/sessions", make(json!({ "team": "b" })).to_string()).await;
    refused.problem(403, "forbidden");
    let mine = own.create(make(json!({}))).await;
    assert_eq!(mine["owner"], "own");
    assert_eq!(ids(own.get("/api/v1/sessions").await.ok(200)), mine["id"].as_str().unwrap());
    let made = labelled.create(make(json!({ "team": "a" }))).await["id"].clone();
    // Ended ones are found by the same rule, page by page.
    for id in [&seen, &unseen, &mine["id"], &made] {
        owner.delete(&format!("/api/v1/sessions/{}", id.as_str().unwrap())).await.ok(200);
    }
    let first = labelled.get("/api/v1/sessions?all=true&limit=1").await.ok(200);
    assert_eq!(ids(first.clone()), made.as_str().unwrap());
    let next =
        format!("/api/v1/sessions?all=true&limit=1&cursor={}", first["next"].as_str().unwrap());
    assert_eq!(ids(labelled.get(&next).await.ok(200)), seen.as_str().unwrap());
    assert_eq!(
        ids(own.get("/api/v1/sessions?all=true").await.ok(200)),
        mine["id"].as_str().unwrap()
    );
    until.send(made.as_str().unwrap().to_owned()).expect("a listener");
    let events = soon("the last end", heard).await.unwrap();
    assert!(events.contains(seen.as_str().unwrap()) && !events.contains(unseen.as_str().unwrap()));
    assert!(!events.contains(mine["id"].as_str().unwrap()));
}

#[actix_web::test]
async fn what_ends_takes_along_what_was_opened_with_it() {
    let server = Server::start().await;
    let owner = server.api();
    let session = sleeper(&owner).await;
    let (guest, link) = share(&owner, &session, "ro").await;
    let mut socket = attach(&guest, &session, "").await;
    let login = json!({ "token": guest.token() }).to_string();
    let reply = guest.post("/api/v1/login", login).await;
    assert_eq!(reply.status.as_u16(), 204);
    let cookie = reply.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
    assert!(cookie.contains("Max-Age=3600") || cookie.contains("Max-Age=3599"), "{cookie}");
    let path = format!("/api/v1/sessions/{session}/shares");
    assert_eq!(owner.get(&path).await.ok(200)["shares"][0]["id"], link.as_str());
    let began = Instant::now();
    let ended = owner.delete(&format!("{path}/{link}")).await;
    assert_eq!(ended.status.as_u16(), 204);
    let why = soon("a close", async {
        loop {
            if let Frame::Close(Some(reason)) =
                socket.next().await.expect("a frame").expect("a frame")
            {
                return (u16::from(reason.code), reason.description.unwrap_or_default());
            }
        }
    });
    let (code, why) = why.await;
    assert_eq!(code, 1008);
    assert!(why.contains("share link has ended"), "{why}");
    assert!(began.elapsed() < ENDED_WITHIN, "{:?}", began.elapsed());
    guest.get("/api/v1/whoami").await.problem(401, "unauthorized");
}

#[actix_web::test]
async fn grants_outlive_the_server_and_their_secrets_are_nowhere() {
    let mut server = Server::start().await;
    let owner = server.api();
    let session = sleeper(&owner).await;
    let anna = token(&owner, json!({ "name": "anna", "role": "viewer" })).await;
    let (guest, _) = share(&owner, &session, "ro").await;
    let code = owner.post("/api/v1/login/code", "").await.ok(201);
    let code = code["code"].as_str().unwrap().to_owned();
    let reply = owner.post("/api/v1/login", json!({ "code": code }).to_string()).await;
    let cookie = reply.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    owner
        .post("/api/v1/login", json!({ "code": code }).to_string())
        .await
        .problem(401, "unauthorized");
    server.kill_and_restart().await;
    let (anna, guest) =
        (server.api().with_token(anna.token()), server.api().with_token(guest.token()));
    assert_eq!(anna.get("/api/v1/whoami").await.ok(200)["role"], "viewer");
    let who = guest.get("/api/v1/whoami").await.ok(200);
    assert_eq!((&who["kind"], &who["scope"]["sessions"][0]), (&json!("share"), &json!(session)));
    // No file of the state directory has a secret in clear.
    let secrets = [anna.token(), guest.token(), &code, &cookie];
    for entry in std::fs::read_dir(server.state()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} has a secret", path.display());
        }
    }
}

#[actix_web::test]
async fn a_token_creates_no_more_than_its_share_of_sessions() {
    let server = Server::start_with(&["--max-sessions-per-principal", "2"]).await;
    let owner = server.api();
    let anna = token(&owner, json!({ "name": "anna", "role": "controller" })).await;
    let first = sleeper(&anna).await;
    sleeper(&anna).await;
    let third = json!({ "command": ["sleep", "1000"] }).to_string();
    anna.post("/api/v1/sessions", third.clone()).await.problem(503, "too_many_sessions");
    for _ in 0..3 {
        sleeper(&owner).await;
    }
    anna.delete(&format!("/api/v1/sessions/{first}")).await.ok(200);
    anna.post("/api/v1/sessions", third).await.ok(201);
}

#[actix_web::test]
async fn a_profile_grants_the_programs_in_its_sessions_what_it_says_and_no_more() {
    let dir = Server::dir();
    let mut server = Server::start_in(dir, Vec::new()).await;
    let settings = server.state().parent().unwrap().join("stayd.toml");
    let mut text = std::fs::read_to_string(&settings).unwrap();
    for control in ["viewer", "controller"] {
        let command = r#"command = ["bash", "--norc", "--noprofile"]"#;
        text += &format!("[profile.{control}]\n{command}\ncontrol = \"{control}\"\n");
    }
    std::fs::write(&settings, text).unwrap();
    server.kill_and_restart().await;
    let owner = server.api();
    let stayd = env!("CARGO_BIN_EXE_stayd");
    let state = server.state();
    for (profile, listed, killed, told) in
        [("viewer", 0, 1, 1), ("controller", 0, 0, 1), ("bash", 1, 1, 1)]
    {
        let victim = sleeper(&owner).await;
        let session = owner.create(json!({ "profile": profile })).await;
        let path = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
        let run = format!("{stayd} --state-dir {}", state.display());
        let script = format!(
            "{run} ls >/dev/null 2>&1; a=$?; {run} kill {victim} >/dev/null 2>&1; b=$?; \
             {run} token ls >/dev/null 2>&1; c=$?; {run} logins >/dev/null 2>&1; \
             printf 'co''des %s %s %s %s\\n' $a $b $c $?\n"
        );
        owner.post(&format!("{path}/input"), script).await.ok(200);
        // Tokens and logins are for nobody in a session.
        let wanted = format!("codes {listed} {killed} {told} {told}");
        let wait = format!("{path}/screen?wait=text:codes&timeout_ms=20000");
        let screen = owner.get(&wait).await;
        let screen = String::from_utf8_lossy(&screen.bytes).into_owned();
        assert!(screen.contains(&wanted), "{profile}: {screen}");
    }
}

#[actix_web::test]
async fn a_name_out_of_scope_opens_nothing_and_is_not_shown() {
    let server = Server::start().await;
    let owner = server.api();
    let secret = json!({ "command": ["sleep", "1000"], "name": "secret" });
    owner.create(secret).await;
    let own = token(&owner, json!({ "name": "own", "role": "controller", "own": true })).await;
    for path in ["/api/v1/sessions/secret/attach?create=shell", "/ws/terminal/secret"] {
        let request = awc::Client::builder()
            .max_http_version(awc::http::Version::HTTP_11)
            .finish()
            .ws(format!("{}{path}", own.base()))
            .set_header("Authorization", format!("Bearer {}", own.token()))
            .protocols(["stayd.v1"]);
        let (_, mut socket) = soon("WebSocket", request.connect()).await.expect("upgraded");
        let mut text = String::new();
        let closed = soon("a close", async {
            loop {
                match socket.next().await.expect("a frame").expect("a frame") {
                    Frame::Close(Some(reason)) => return u16::from(reason.code),
                    frame => text += &format!("{frame:?}"),
                }
            }
        });
        assert_eq!(closed.await, 1008, "{path}");
        assert!(text.contains("name_taken") && !text.contains("sleep"), "{text}");
    }
}

#[actix_web::test]
async fn a_link_ends_with_its_makers_token_and_names_and_labels_nothing() {
    let server = Server::start().await;
    let owner = server.api();
    let anna = token(&owner, json!({ "name": "anna", "role": "controller", "own": true })).await;
    let session = sleeper(&anna).await;
    let (link, _) = share(&anna, &session, "rw").await;
    let path = format!("/api/v1/sessions/{session}");
    for body in [r#"{"name":"deploy"}"#, r#"{"labels":{"team":"a"}}"#] {
        link.send(Method::PATCH, &path, body).await.problem(403, "forbidden");
    }
    link.get("/api/v1/sessions?label=team%3Da").await.problem(400, "invalid_request");
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    link.get(&path).await.problem(401, "unauthorized");
    assert!(
        owner.get(&format!("{path}/shares")).await.ok(200)["shares"].as_array().unwrap().is_empty()
    );
}

#[actix_web::test]
async fn a_later_token_of_the_same_name_owns_nothing_of_the_earlier_one() {
    let mut server = Server::start().await;
    let owner = server.api();
    let own = json!({ "name": "anna", "role": "controller", "own": true });
    let (first, keep) = (token(&owner, own.clone()).await, "Idempotency-Key");
    let body = json!({ "command": ["sleep", "1000"] }).to_string();
    let made = |api: Api, body: String| async move {
        api.send_with(Method::POST, "/api/v1/sessions", &[(keep, "once")], body).await
    };
    let session = made(first.clone(), body.clone()).await.ok(201);
    let id = session["id"].as_str().unwrap().to_owned();
    let over = sleeper(&first).await;
    first.delete(&format!("/api/v1/sessions/{over}")).await.ok(200);
    let seen = |list: Value| list["sessions"].as_array().unwrap().len();
    assert_eq!(seen(first.get("/api/v1/sessions?all=true").await.ok(200)), 2);
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    let second = token(&owner, own).await;
    let (tell, heard) = listen(&second).await;
    owner.send(Method::PATCH, &format!("/api/v1/sessions/{id}"), r#"{"name":"x"}"#).await.ok(200);
    let mine = sleeper(&second).await;
    second.delete(&format!("/api/v1/sessions/{mine}")).await.ok(200);
    tell.send(mine).expect("a listener");
    let events = soon("the end of its own session", heard).await.unwrap();
    assert!(!events.contains(&id), "{events}");
    for restarted in [false, true] {
        if restarted {
            server.kill_and_restart().await;
        }
        let (owner, second) = (server.api(), server.api().with_token(second.token()));
        assert_eq!(owner.session(&id).await["owner"], "anna", "the name stays, for people");
        for session in [&id, &over] {
            let path = format!("/api/v1/sessions/{session}");
            second.get(&path).await.problem(404, "not_found");
        }
        assert_eq!(seen(second.get("/api/v1/sessions?all=true").await.ok(200)), 1);
        made(second.clone(), body.clone()).await.problem(422, "idempotency_key_reused");
    }
}

#[actix_web::test]
async fn a_tag_that_a_share_is_told_is_made_of_what_it_sees() {
    let server = Server::start().await;
    let owner = server.api();
    let made = json!({ "command": ["sleep", "1000"], "labels": { "team": "secret" } });
    let session = owner.create(made).await["id"].as_str().unwrap().to_owned();
    let (share, _) = share(&owner, &session, "rw").await;
    let path = format!("/api/v1/sessions/{session}");
    let tag = async |api: &Api| {
        let reply = api.get(&path).await;
        reply.headers.get("etag").expect("a tag").to_str().unwrap().to_owned()
    };
    let (whole, part) = (tag(&owner).await, tag(&share).await);
    assert_ne!(whole, part);
    // Somebody who guesses the labels cannot check the guess.
    owner.send(Method::PATCH, &path, r#"{"labels":{"team":"other"}}"#).await.ok(200);
    assert_ne!(tag(&owner).await, whole);
    assert_eq!(tag(&share).await, part);
    // It is as good as any other.
    let with = async |method: Method, name: &str, tag: &str, body: &str| {
        share.send_with(method, &path, &[(name, tag)], body).await
    };
    let known = with(Method::GET, "If-None-Match", &part, "").await;
    assert_eq!(known.status.as_u16(), 304);
    let longer = r#"{"idle_timeout_s":100}"#;
    let changed = with(Method::PATCH, "If-Match", &part, longer).await;
    let next = changed.headers.get("etag").expect("a tag").to_str().unwrap().to_owned();
    changed.ok(200);
    assert_eq!(tag(&share).await, next);
    for stale in [&part, &whole] {
        let problem = with(Method::PATCH, "If-Match", stale, longer).await.problem(412, "changed");
        assert_eq!(problem["etag"], next.as_str());
    }
    with(Method::DELETE, "If-Match", &part, "").await.problem(412, "changed");
    with(Method::DELETE, "If-Match", &next, "").await.ok(200);
    let over = tag(&share).await;
    with(Method::DELETE, "If-Match", &next, "").await.problem(412, "changed");
    with(Method::DELETE, "If-Match", &over, "").await.ok(200);
}

#[actix_web::test]
async fn one_sees_and_ends_ones_own_logins_and_an_admin_everybodys() {
    let mut server = Server::start().await;
    let owner = server.api();
    let anna = token(&owner, json!({ "name": "anna", "role": "viewer" })).await;
    let ben = token(&owner, json!({ "name": "ben", "role": "viewer" })).await;
    let log_in = async |secret: &str| {
        let body = json!({ "token": secret }).to_string();
        let reply = owner.post("/api/v1/login", body).await;
        let cookie = reply.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
        cookie.split(';').next().unwrap().to_owned()
    };
    let (annas, bens) = (log_in(anna.token()).await, log_in(ben.token()).await);
    log_in(owner.token()).await;
    // The list as its text, and whom each entry speaks for.
    let list = async |api: &Api| {
        let reply = api.get("/api/v1/logins").await;
        let whose = reply.ok(200)["logins"].as_array().unwrap().clone();
        let mut whose: Vec<_> = whose
            .iter()
            .map(|login| {
                let text = |name: &str| login[name].as_str().unwrap().to_owned();
                (text("principal"), text("id"))
            })
            .collect();
        whose.sort();
        (String::from_utf8(reply.bytes).unwrap(), whose)
    };
    let (text, all) = list(&owner).await;
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["anna", "ben", "owner"]);
    for secret in [&annas, &bens] {
        assert!(!text.contains(secret.split_once('=').unwrap().1), "no secret is told");
    }
    assert_eq!(list(&anna).await.1, all[..1]);
    let scoped = json!({ "name": "scoped", "role": "admin", "own": true });
    assert_eq!(list(&token(&owner, scoped).await).await.1, [], "an admin of some sessions");
    // A browser knows which one is its own.
    let nobody = owner.with_token("");
    let by_cookie = [("Cookie", annas.as_str()), ("Origin", owner.base())];
    let request = awc::Client::default().get(format!("{}/api/v1/logins", owner.base()));
    let request = by_cookie.iter().fold(request, |request, pair| request.insert_header(*pair));
    let mut reply = soon("the list", request.send()).await.unwrap();
    let mine: Value = soon("the list", reply.json()).await.unwrap();
    assert_eq!(
        (&mine["logins"][0]["id"], &mine["logins"][0]["current"]),
        (&json!(all[0].1), &json!(true))
    );
    let path = |id: &str| format!("/api/v1/logins/{id}");
    anna.delete(&path(&all[1].1)).await.problem(404, "not_found");
    anna.delete(&path("none")).await.problem(404, "not_found");
    nobody.delete(&path(&all[0].1)).await.problem(401, "unauthorized");
    assert_eq!(anna.delete(&path(&all[0].1)).await.status.as_u16(), 204);
    assert_eq!(owner.delete(&path(&all[1].1)).await.status.as_u16(), 204);
    // They stay ended.
    for _ in 0..2 {
        let owner = server.api();
        for cookie in [&annas, &bens] {
            let request = awc::Client::default().get(format!("{}/api/v1/whoami", owner.base()));
            let reply = request.insert_header(("Cookie", cookie.as_str())).send();
            assert_eq!(soon("an answer", reply).await.unwrap().status().as_u16(), 401);
        }
        assert_eq!(list(&owner).await.1, all[2..]);
        server.kill_and_restart().await;
    }
}

/// A link is opened in many tabs of one browser, and by many people.
#[actix_web::test]
async fn a_browser_that_opens_a_link_again_keeps_its_login() {
    let server = Server::start().await;
    let owner = server.api();
    let session = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
    let (guest, _) = share(&owner, session.as_str().unwrap(), "ro").await;
    let login = json!({ "token": guest.token() }).to_string();
    let first = owner.post("/api/v1/login", login.clone()).await;
    let cookie = first.headers.get("set-cookie").unwrap().to_str().unwrap();
    let cookie = [("Cookie", cookie.split(';').next().unwrap())];
    let logins = async || {
        let logins = owner.get("/api/v1/logins").await.ok(200);
        logins["logins"].as_array().unwrap().len()
    };
    for _ in 0..3 {
        let again = owner.send_with(Method::POST, "/api/v1/login", &cookie, login.clone()).await;
        assert_eq!((again.status.as_u16(), again.headers.contains_key("set-cookie")), (204, false));
    }
    assert_eq!(logins().await, 1);
    for _ in 1..64 {
        assert_eq!(owner.post("/api/v1/login", login.clone()).await.status.as_u16(), 204);
    }
    let refused = owner.post("/api/v1/login", login).await.problem(503, "unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("by this share link"), "{refused}");
    assert_eq!(logins().await, 64);
}
