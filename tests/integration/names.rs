//! One rule for names, wherever one is given.

use crate::support::{Api, Event, Server, Terminal, soon};
use awc::http::Method;
use serde_json::{Value, json};
use stayd::holder::{Holder, Paths};
use stayd::session::Blob;

fn id_of(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

/// Every byte percent-encoded, which no client undoes.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn create(api: &Api, name: &str) -> crate::support::Reply {
    let body = json!({ "name": name, "command": ["cat"] }).to_string();
    api.post("/api/v1/sessions", body).await
}

async fn rename(api: &Api, id: &str, name: &str) -> crate::support::Reply {
    let path = format!("/api/v1/sessions/{id}");
    api.send(Method::PATCH, &path, json!({ "name": name }).to_string()).await
}

#[actix_web::test]
async fn a_bad_name_is_refused_wherever_it_is_given() {
    let server = Server::start().await;
    let api = server.api();
    let id = id_of(&api.create(json!({ "command": ["cat"] })).await);
    let long = "x".repeat(65);
    let bad = [
        ".",
        "..",
        "a/b",
        " a",
        "a\u{1b}[31m",
        "a\u{9b}",
        "a\u{202e}b",
        "a\u{200b}",
        "\u{feff}",
        "a\u{ad}",
        "a\u{2028}",
        "a\u{a0}b",
        &long,
    ];
    for name in bad {
        let refused = create(&api, name).await.problem(400, "invalid_request");
        rename(&api, &id, name).await.problem(400, "invalid_request");
        let told = refused["detail"].as_str().unwrap();
        assert!(!told.chars().any(stayd::protocol::is_unseen), "{told:?}");
        // What a path cannot hold at all does not come so far.
        if name.contains(['/', '.']) {
            continue;
        }
        let name = encoded(name);
        for path in
            [format!("/api/v1/sessions/{name}/attach?create=bash"), format!("/ws/terminal/{name}")]
        {
            let mut terminal = Terminal::open(&api, &path, None).await;
            let (code, reason) = terminal.closed().await;
            assert_eq!(code, 1008, "{path}: {reason}");
            assert!(!reason.chars().any(stayd::protocol::is_unseen), "{reason:?}");
        }
    }
    assert_eq!(api.get("/api/v1/sessions?all=true").await.ok(200)["sessions"][1], Value::Null);
    let label = json!({ "command": ["cat"], "labels": { "k": "a\u{1b}[31m" } }).to_string();
    api.post("/api/v1/sessions", label).await.problem(400, "invalid_request");
}

#[actix_web::test]
async fn nothing_is_named_like_another_sessions_id() {
    let server = Server::start().await;
    let api = server.api();
    let live = id_of(&api.create(json!({ "name": "live", "command": ["cat"] })).await);
    let ended = id_of(&api.create(json!({ "name": "ended", "command": ["cat"] })).await);
    api.delete(&format!("/api/v1/sessions/{ended}")).await.ok(200);
    for id in [&live, &ended] {
        for name in [id.clone(), id.to_uppercase()] {
            create(&api, &name).await.problem(409, "name_taken");
            rename(&api, &live, &name).await.problem(409, "name_taken");
        }
    }
    for path in
        [format!("/api/v1/sessions/{ended}/attach?create=bash"), format!("/ws/claude/{ended}")]
    {
        assert_eq!(Terminal::open(&api, &path, None).await.closed().await.0, 4410);
    }
    assert_eq!(api.session(&ended).await["name"], "ended");
    // Once it is gone for good, it is a name like any other.
    api.delete(&format!("/api/v1/sessions/{ended}?purge=true")).await.ok(200);
    create(&api, &ended).await.ok(201);
    assert_eq!(api.session(&ended).await["name"], json!(ended));
}

#[actix_web::test]
async fn a_client_may_make_up_a_uuid_as_a_name() {
    let server = Server::start().await;
    let api = server.api();
    for name in ["6f1c2d9e-4b7a-4c11-9d55-0a1b2c3d4e5f", "7A1C2D9E-4B7A-4C11-9D55-0A1B2C3D4E5F"] {
        let path = format!("/ws/terminal/{name}");
        let mut first = Terminal::open(&api, &path, None).await;
        assert!(matches!(first.next().await, Event::Control(_)));
        let session = api.session(name).await;
        assert_eq!((&session["name"], &session["profile"]), (&json!(name), &json!("shell")));
        let _second = Terminal::open(&api, &path, None).await;
        soon("both are there", async {
            while api.session(name).await["active_connections"] != 2 {}
        })
        .await;
        let again = api.post(&format!("/api/v1/sessions/{name}/restart"), "").await.ok(200);
        assert_eq!(again["id"], session["id"]);
        let killed = api.delete(&format!("/api/v1/sessions/{name}")).await.ok(200);
        assert_eq!(killed["id"], session["id"]);
        api.get(&format!("/api/v1/sessions/{name}")).await.problem(404, "not_found");
    }
}

/// What an earlier version allowed is restored, and takes nothing from whom an id belongs to.
#[actix_web::test]
async fn names_of_before_do_not_keep_a_session_from_coming_back() {
    let mut server = Server::start().await;
    let api = server.api();
    let ended = id_of(&api.create(json!({ "name": "first", "command": ["cat"] })).await);
    api.delete(&format!("/api/v1/sessions/{ended}")).await.ok(200);
    let odd = id_of(&api.create(json!({ "command": ["cat"] })).await);
    let like_an_id = id_of(&api.create(json!({ "command": ["cat"] })).await);
    server.kill();
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let (holder, _notices) =
        Holder::connect_or_launch(&Paths::new(server.state()), &log).await.unwrap();
    for held in holder.adopt().await.unwrap() {
        let name = if held.id.to_string() == odd { "a\u{202e}\u{200b}/.." } else { &*ended };
        let blob = Blob::from_bytes(&held.blob).unwrap();
        let blob = Blob { name: Some(name.to_owned()), ..blob };
        holder.set_blob(held.id, &blob.to_bytes()).await.unwrap();
    }
    drop(holder);
    server.restart().await;
    let api = server.api();
    assert_eq!(api.session(&odd).await["name"], "a\u{202e}\u{200b}/..");
    assert_eq!(api.session(&like_an_id).await["name"], json!(ended));
    assert_eq!(api.session(&ended).await["name"], "first", "ids go first");
    api.post(&format!("/api/v1/sessions/{ended}/input"), "x").await.problem(410, "ended");
    let again = api.post(&format!("/api/v1/sessions/{ended}/restart"), "").await.ok(200);
    assert_eq!((&again["id"], &again["name"]), (&json!(ended), &json!("first")));
    // They are listed without harm to the terminal, and get a better name.
    let ls = std::process::Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["ls", "--state-dir"])
        .arg(server.state())
        .output()
        .unwrap();
    assert!(!String::from_utf8(ls.stdout).unwrap().contains('\u{202e}'));
    rename(&api, &odd, "better").await.ok(200);
}
