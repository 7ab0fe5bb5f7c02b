//! Entity tags: who administers a session decides by what it is, or is told that it is not.

use crate::support::{Api, Reply, Server, Terminal};
use awc::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

fn path(id: &str) -> String {
    format!("/api/v1/sessions/{id}")
}

#[track_caller]
fn tag(reply: &Reply) -> String {
    let tag = reply.headers.get("etag").expect("an ETag").to_str().unwrap();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    tag.to_owned()
}

async fn tag_of(api: &Api, id: &str) -> String {
    let reply = api.get(&path(id)).await;
    reply.ok(200);
    tag(&reply)
}

async fn patch(api: &Api, id: &str, tag: &str, body: Value) -> Reply {
    let headers = [("If-Match", tag)];
    api.send_with(Method::PATCH, &path(id), &headers, body.to_string()).await
}

async fn delete(api: &Api, id: &str, tag: &str) -> Reply {
    api.send_with(Method::DELETE, &path(id), &[("If-Match", tag)], "").await
}

#[actix_web::test]
async fn a_tag_changes_with_what_is_decided_by_and_not_with_output_or_input() {
    let mut server = Server::start().await;
    let api = server.api();
    let body = json!({ "command": ["cat"], "idle_timeout_s": 1000 }).to_string();
    let made = api.post("/api/v1/sessions", body).await;
    let id = made.ok(201)["id"].as_str().unwrap().to_owned();
    let first = tag(&made);
    assert_eq!(tag_of(&api, &id).await, first);
    api.post(&format!("{}/input", path(&id)), "hello\n").await.ok(200);
    api.get(&format!("{}/screen?wait=text:hello", path(&id))).await;
    let size = r#"{"cols":100,"rows":30}"#;
    api.post(&format!("{}/resize", path(&id)), size).await.ok(200);
    let after = api.get(&path(&id)).await;
    assert!(after.json()["offset"].as_u64().unwrap() > 0);
    assert_eq!(tag(&after), first, "output and input are no change");

    // A look at what is known already has no body.
    let known = api.send_with(Method::GET, &path(&id), &[("If-None-Match", &first)], "").await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
    assert_eq!(tag(&known), first);

    let mut seen = vec![first];
    let mut next = |now: String, what: &str| {
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    };
    for change in [
        json!({ "name": "a" }),
        json!({ "labels": { "k": "v" } }),
        json!({ "idle_timeout_s": null }),
        json!({ "idle_timeout_s": 500 }),
        json!({ "size_policy": "fixed" }),
        json!({ "restart": "on-failure" }),
    ] {
        let changed = api.send(Method::PATCH, &path(&id), change.to_string()).await;
        changed.ok(200);
        next(tag(&changed), &change.to_string());
        assert_eq!(tag_of(&api, &id).await, tag(&changed));
    }
    api.send(Method::PATCH, &path(&id), r#"{"restart":"never"}"#).await.ok(200);
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    next(tag_of(&api, &id).await, "ACTIVE");
    terminal.type_in("x").await;
    terminal.wait_for("x").await;
    let active = tag_of(&api, &id).await;
    let (second, _) = Terminal::attach(&server, &id, "").await;
    assert_eq!(tag_of(&api, &id).await, active, "one more who looks");
    second.leave().await;
    terminal.leave().await;
    let idle = format!("SELECT status FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&idle, "IDLE").await;
    let idle = tag_of(&api, &id).await;
    next(idle.clone(), "IDLE");
    server.kill_and_restart().await;
    let api = server.api();
    assert_eq!(tag_of(&api, &id).await, idle, "another server, the same session");
    api.delete(&path(&id)).await.ok(200);
    next(tag_of(&api, &id).await, "ended");
}

#[actix_web::test]
async fn what_has_changed_is_not_changed_again_unseen() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("sleep 1000").await;
    let old = tag_of(&api, &id).await;
    let new = tag(&patch(&api, &id, &old, json!({ "name": "mine" })).await);
    let refused = patch(&api, &id, &old, json!({ "name": "yours" })).await;
    let problem = refused.problem(412, "changed");
    assert_eq!(problem["session"]["name"], "mine", "how it is now");
    assert_eq!(problem["etag"], new);
    // The name that was not given is nobody's.
    api.create(json!({ "name": "yours", "command": ["sleep", "1000"] })).await;
    delete(&api, &id, &old).await.problem(412, "changed");
    assert_eq!(api.session("mine").await["status"], "RUNNING");
    for (tag, status) in [("*", 200), (&*format!("\"other\", {new}"), 200)] {
        let reply = patch(&api, &id, tag, json!({})).await;
        assert_eq!(reply.status.as_u16(), status, "{tag}");
    }
    patch(&api, &id, &format!("W/{new}"), json!({})).await.problem(412, "changed");
    patch(&api, &id, "nonsense", json!({})).await.problem(400, "invalid_request");
    delete(&api, &id, "nonsense").await.problem(400, "invalid_request");
    delete(&api, &id, &new).await.ok(200);
    // It has ended since: whoever wanted to end the live one is told.
    let over = delete(&api, &id, &new).await.problem(412, "changed");
    assert_eq!(over["session"]["status"], "TERMINATED");
    delete(&api, &id, "*").await.ok(200);
    let last = tag_of(&api, &id).await;
    patch(&api, &id, "*", json!({ "name": "late" })).await.problem(410, "ended");
    api.send_with(Method::DELETE, &format!("{}?purge=true", path(&id)), &[("If-Match", &last)], "")
        .await
        .ok(200);
    delete(&api, &id, "*").await.problem(404, "not_found");
}

#[actix_web::test]
async fn of_many_that_decide_by_the_same_state_one_wins() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "name": "start", "command": ["sleep", "1000"] })).await;
    let id = id["id"].as_str().unwrap();
    for round in 0..10 {
        let tag = tag_of(&api, id).await;
        let wishes: Vec<String> = (0..6).map(|n| format!("r{round}-{n}")).collect();
        let replies =
            join_all(wishes.iter().map(|name| patch(&api, id, &tag, json!({ "name": name }))));
        let replies = replies.await;
        let won: Vec<&String> = std::iter::zip(&wishes, &replies)
            .filter(|(_, reply)| reply.status.as_u16() == 200)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(won.len(), 1, "{won:?}");
        for reply in replies.iter().filter(|reply| reply.status.as_u16() != 200) {
            reply.problem(412, "changed");
        }
        assert_eq!(api.session(won[0]).await["id"], id, "found by its new name");
        for name in wishes.iter().filter(|name| *name != won[0]) {
            api.get(&path(name)).await.problem(404, "not_found");
        }
    }
    // Without a tag all win, one after the other; the last name is the session's alone.
    let names: Vec<String> = (0..6).map(|n| format!("free-{n}")).collect();
    let bodies = names.iter().map(|name| json!({ "name": name }).to_string());
    let session = path(id);
    let replies = join_all(bodies.map(|body| api.send(Method::PATCH, &session, body)));
    assert!(replies.await.iter().all(|reply| reply.status.as_u16() == 200));
    let now = api.session(id).await["name"].as_str().unwrap().to_owned();
    for name in &names {
        let found = api.get(&path(name)).await.status.as_u16();
        assert_eq!(found, if *name == now { 200 } else { 404 }, "{name}, it is {now}");
        let body = json!({ "name": name, "command": ["sleep", "1000"] }).to_string();
        let made = api.post("/api/v1/sessions", body).await.status.as_u16();
        assert_eq!(made, if *name == now { 409 } else { 201 }, "{name}");
    }
    // Of many that start it again by the same state, one does.
    let seen = tag_of(&api, id).await;
    let (restart, headers) = (format!("{}/restart", path(id)), [("If-Match", &*seen)]);
    let replies = join_all((0..4).map(|_| api.send_with(Method::POST, &restart, &headers, "")));
    let codes: Vec<u16> = replies.await.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(codes.iter().filter(|&&code| code == 200).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [200, 412].contains(code)), "{codes:?}");
    assert_eq!(api.session(id).await["restarts"], 1);
    // An ended one too.
    api.delete(&path(id)).await.ok(200);
    api.send_with(Method::POST, &restart, &headers, "").await.problem(412, "changed");
    let ended = tag_of(&api, id).await;
    let again = api.send_with(Method::POST, &restart, &[("If-Match", &*ended)], "").await;
    assert_eq!(again.ok(200)["restarts"], 2);
    assert_eq!(tag(&again), tag_of(&api, id).await);
    // A kill and a change that were decided at once: never both.
    for _ in 0..5 {
        let id = api.run("sleep 1000").await;
        let tag = tag_of(&api, &id).await;
        let (killed, changed) = tokio::join!(
            delete(&api, &id, &tag),
            patch(&api, &id, &tag, json!({ "labels": { "keep": "me" } })),
        );
        let codes = (killed.status.as_u16(), changed.status.as_u16());
        assert!(matches!(codes, (200, 412 | 410) | (412, 200)), "{codes:?}");
    }
}
