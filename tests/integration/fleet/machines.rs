//! Machines of a fleet with real servers and NATS: what passes through, who may do what, who is there.

use super::servers::settings_with_tls;
use crate::support::{NatsPlace, NatsServer, Server, Terminal, dial, soon};
use actix_web::http::Method;
use actix_web::rt::time::sleep;
use awc::ws::Frame;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// Between two looks at what tells nobody of this process that it changes.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// A member whose `[fleet]` has more lines.
pub(super) async fn member(nats: &NatsServer, name: &str, more: &str) -> Server {
    let url = nats.url();
    let settings = format!("[fleet]\nurl = [\"{url}\"]\nname = \"{name}\"\n{more}\n");
    Server::start_by(Server::dir(), &settings, "exec \"$0\" \"$@\"").await
}

/// Waits until a server sees a machine in this state.
pub(super) async fn sees(server: &Server, name: &str, state: &str) {
    soon(&format!("{name} {state}"), async {
        loop {
            let nodes = server.api().get("/api/v1/nodes").await.json();
            let nodes = nodes["nodes"].as_array().expect("nodes");
            if nodes.iter().any(|node| node["name"] == name && node["state"] == state) {
                return;
            }
            sleep(LOOK).await;
        }
    })
    .await;
}

pub(super) async fn two(more: &str) -> Option<(NatsServer, Server, Server)> {
    let nats = NatsServer::start().await?;
    let (desk, attic) = (member(&nats, "desk", "").await, member(&nats, "attic", more).await);
    sees(&desk, "attic", "online").await;
    sees(&attic, "desk", "online").await;
    Some((nats, desk, attic))
}

pub(super) fn bash(node: &str) -> Value {
    json!({ "node": node, "command": ["bash", "--norc", "--noprofile"] })
}

#[actix_web::test]
async fn every_kind_of_request_passes_through() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let api = desk.api();
    let session = api.create(bash("attic")).await;
    assert_eq!(session["node"], "attic");
    let id = session["id"].as_str().expect("an id");
    assert_eq!(attic.api().session(id).await["id"], session["id"], "it is there");
    // A WebSocket, both ways.
    let (mut terminal, _) = Terminal::attach(&desk, id, "client=tab").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    // Bodies longer than a window, both ways, and their heads.
    let whole: Vec<u8> = (0..700_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let file = format!("/api/v1/sessions/{id}/files?apart=true&name=big&upload=k&total=700000");
    let put = api.send(Method::PUT, &file, whole.clone()).await;
    assert!(put.status.is_success(), "{}", put.status);
    let path = put.json()["path"].as_str().expect("a path").to_owned();
    let file = format!("/api/v1/sessions/{id}/files?path={path}");
    assert!(api.get(&file).await.bytes == whole, "it comes back as it was");
    let head = api.send(Method::HEAD, &file, "").await;
    let length = head.headers.get("content-length").expect("a length").to_str().unwrap();
    assert_eq!((length, head.bytes.len()), ("700000", 0));
    // A wait, by the machine's name.
    let wait = format!(
        "/api/v1/nodes/attic/sessions/{id}/screen?format=text&wait=text:never&timeout_ms=300"
    );
    assert_eq!(api.get(&wait).await.status, 408);
    let missing = "/api/v1/nodes/attic/sessions/nobody";
    api.get(missing).await.problem(404, "not_found");
    api.get("/api/v1/nodes/cellar/sessions").await.problem(404, "unknown_node");
    api.get("/api/v1/sessions?node=cellar").await.problem(404, "unknown_node");
    api.get("/api/v1/nodes/attic/tokens").await.problem(404, "not_found");
    let own = api.get(&format!("/api/v1/nodes/desk/sessions/{id}")).await;
    own.problem(404, "not_found");
    terminal.leave().await;
    // By a name that paths cannot have as it is, from a client that offers HTTP/2.
    let named = "a b?\u{fc}#%";
    let named = json!({ "node": "attic", "name": named, "command": ["cat"] });
    let named = api.create(named).await;
    let path = "/api/v1/nodes/attic/sessions/a%20b%3F%C3%BC%23%25";
    assert_eq!(api.get(path).await.ok(200)["id"], named["id"]);
    let offers = [("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings")];
    let typed = api.send_with(Method::POST, &format!("{path}/input"), &offers, "typed").await;
    assert_eq!(typed.ok(200)["received"], 5);
}

#[actix_web::test]
async fn a_session_whose_line_would_be_too_long_is_told_in_short() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    // Each of these characters takes six bytes of the line.
    let command = json!(["sh", "-c", "exec cat", "\u{1}".repeat(30_000)]);
    let session = attic.api().create(json!({ "name": "long", "command": command })).await;
    soon("the session", async {
        loop {
            let list = desk.api().get("/api/v1/sessions?node=attic").await.json();
            if let Some(told) = list["sessions"].get(0) {
                assert_eq!(
                    (&told["name"], &told["command"]),
                    (&json!("long"), &json!(["sh", "…"]))
                );
                return;
            }
            sleep(LOOK).await;
        }
    })
    .await;
    let id = session["id"].as_str().expect("an id");
    let whole = desk.api().get(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!(whole["command"], command, "the machine itself has all of it");
}

#[actix_web::test]
async fn a_machine_lets_in_no_more_than_it_says() {
    let Some((_nats, desk, attic)) = two("rights = \"viewer\"").await else { return };
    let session = attic.api().create(json!({ "command": ["cat"] })).await;
    let id = session["id"].as_str().expect("an id");
    let path = format!("/api/v1/nodes/attic/sessions/{id}");
    assert_eq!(desk.api().get(&path).await.status, 200);
    let refused = desk.api().post(&format!("{path}/input"), "x").await;
    assert_eq!(refused.problem(403, "forbidden")["needs"], "controller");
    desk.api().post("/api/v1/sessions", bash("attic").to_string()).await.problem(403, "forbidden");
    desk.api().post("/api/v1/sessions", bash("any").to_string()).await.ok(201);
}

#[actix_web::test]
async fn what_a_token_may_here_it_may_there_until_it_ends() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let session =
        attic.api().create(json!({ "command": ["cat"], "labels": { "team": "a" } })).await;
    let id = session["id"].as_str().expect("an id");
    let other = attic.api().create(json!({ "command": ["cat"] })).await;
    let owner = desk.api();
    let made = json!({ "name": "anna", "role": "controller", "labels": { "team": "a" } });
    let made = owner.post("/api/v1/tokens", made.to_string()).await.ok(201);
    let anna = owner.with_token(made["token"].as_str().expect("a token"));
    let seen = format!("/api/v1/nodes/attic/sessions/{id}");
    soon("the directory", async {
        while owner.get(&format!("/api/v1/sessions/{id}")).await.status != 200 {
            sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!(anna.get(&seen).await.status, 200);
    let hidden = format!("/api/v1/nodes/attic/sessions/{}", other["id"].as_str().unwrap());
    anna.get(&hidden).await.problem(404, "not_found");
    let listed = anna.get("/api/v1/sessions?node=all").await.ok(200);
    assert_eq!(listed["sessions"].as_array().expect("a list").len(), 1, "{listed}");
    let path = format!("/api/v1/sessions/{id}/attach?client=tab");
    let mut socket = dial(&anna, &path, Some("stayd.v1")).await.expect("a WebSocket");
    soon("a frame", socket.next()).await.expect("a frame").expect("a frame");
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status, 204);
    let reason = soon("the end of the WebSocket", async {
        loop {
            match socket.next().await {
                Some(Ok(Frame::Close(Some(reason)))) => return reason,
                Some(Ok(_)) => {}
                other => panic!("{other:?} and no reason"),
            }
        }
    })
    .await;
    assert_eq!(u16::from(reason.code), 1008, "{reason:?}");
}

#[actix_web::test]
async fn a_name_is_one_machines() {
    let Some((nats, desk, attic)) = two("").await else { return };
    let mut other = member(&nats, "attic", "").await;
    let refused = |line: &Value| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.starts_with("another machine of the fleet has"))
    };
    other.wait_for_log("a refusal", refused).await;
    let session = desk.api().create(bash("attic")).await;
    let id = session["id"].as_str().expect("an id");
    assert_eq!(attic.api().session(id).await["id"], session["id"], "the first one's");
    let nodes = other.api().get("/api/v1/nodes").await.json();
    assert_eq!(nodes["connected"], false, "{nodes}");
    other.api().create(json!({ "command": ["cat"] })).await;
}

#[actix_web::test]
async fn who_is_gone_is_offline_and_comes_back() {
    let Some((mut nats, desk, mut attic)) = two("").await else { return };
    let session = attic.api().create(json!({ "command": ["cat"], "name": "work" })).await;
    let id = session["id"].as_str().expect("an id");
    let listed = async || {
        let all = desk.api().get("/api/v1/sessions?node=all").await.ok(200);
        let all = all["sessions"].as_array().expect("a list").clone();
        all.into_iter().find(|it| it["id"] == *id).map(|it| it["status"].clone())
    };
    soon("the session in the list", async {
        while listed().await.is_none() {
            sleep(LOOK).await;
        }
    })
    .await;
    attic.kill();
    sees(&desk, "attic", "offline").await;
    assert_eq!(listed().await, Some("RUNNING".into()), "as it last said");
    let asked = desk.api().get(&format!("/api/v1/sessions/{id}")).await;
    asked.problem(503, "node_offline");
    attic.restart().await;
    sees(&desk, "attic", "online").await;
    assert_eq!(desk.api().get(&format!("/api/v1/sessions/{id}")).await.status, 200);
    // Without NATS nobody notices anything on a machine itself, and nobody is taken for gone.
    nats.kill();
    attic.api().session(id).await;
    soon("the loss", async {
        while desk.api().get("/api/v1/nodes").await.json()["connected"] == true {
            sleep(LOOK).await;
        }
    })
    .await;
    let asked = desk.api().get(&format!("/api/v1/sessions/{id}")).await;
    asked.problem(503, "node_unreachable");
    assert_eq!(listed().await, Some("RUNNING".into()));
    nats.restart().await;
    soon("the way back", async {
        while desk.api().get(&format!("/api/v1/sessions/{id}")).await.status != 200 {
            sleep(LOOK).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_session_is_placed_once_whichever_edge_is_asked() {
    let Some((nats, desk, attic)) = two("labels = { gpu = \"yes\" }").await else { return };
    let gate = member(&nats, "gate", "gateway = true").await;
    sees(&gate, "attic", "online").await;
    sees(&gate, "desk", "online").await;
    let there = json!({ "node_labels": { "gpu": "yes" }, "command": ["cat"] }).to_string();
    let headers = [("Idempotency-Key", "once")];
    let mut ids = Vec::new();
    for server in [&desk, &gate, &desk] {
        let api = server.api();
        let sent = api.send_with(Method::POST, "/api/v1/sessions", &headers, there.clone());
        let session = sent.await.ok(201);
        assert_eq!(session["node"], "attic");
        ids.push(session["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    attic.api().session(ids[0].as_str().expect("an id")).await;
    let nowhere = json!({ "node_labels": { "gpu": "no" } }).to_string();
    let nowhere = desk.api().post("/api/v1/sessions", nowhere).await;
    nowhere.problem(503, "node_unreachable");
    // A gateway has none of its own, and places what names no machine.
    let session = gate.api().create(json!({ "command": ["cat"] })).await;
    assert_ne!(session["node"], "gate");
    let named = json!({ "node": "gate", "command": ["cat"] }).to_string();
    gate.api().post("/api/v1/sessions", named).await.problem(400, "invalid_request");
}

#[actix_web::test]
async fn the_users_of_the_documentation_are_enough_for_an_edge_and_a_node() {
    let place = NatsPlace::new();
    let text = settings_with_tls(&place);
    let ca = place.dir().join("cert.pem");
    let Some(nats) = NatsServer::start_at(place, &text).await else { return };
    let member = async |name: &str, more: &str| {
        let url = nats.url_of(name, &format!("CHANGE-ME-{name}"));
        let settings = format!(
            "[fleet]\nurl = [\"{url}\"]\nname = \"{name}\"\nca = \"{}\"\n{more}\n",
            ca.display()
        );
        Server::start_by(Server::dir(), &settings, "exec \"$0\" \"$@\"").await
    };
    let (desk, attic) = (member("desk", "").await, member("attic", "serve_page = false").await);
    sees(&desk, "attic", "online").await;
    let session = desk.api().create(bash("attic")).await;
    let id = session["id"].as_str().expect("an id");
    let (mut terminal, _) = Terminal::attach(&desk, id, "client=tab").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    terminal.leave().await;
    soon("the session in the list", async {
        while !desk.api().get("/api/v1/sessions?node=attic").await.ok(200).to_string().contains(id)
        {
            sleep(LOOK).await;
        }
    })
    .await;
    // The node knows itself alone.
    let nodes = attic.api().get("/api/v1/nodes").await.json();
    assert_eq!((&nodes["self"], &nodes["connected"]), (&json!("attic"), &json!(true)), "{nodes}");
    assert_eq!(nodes["nodes"], json!([]), "{nodes}");
    attic.api().get("/api/v1/nodes/desk/sessions").await.problem(404, "unknown_node");
    attic.api().get("/api/v1/sessions?node=all").await.problem(404, "unknown_node");
}

#[actix_web::test]
async fn who_asks_again_is_told_that_nothing_has_changed() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let session = attic.api().create(json!({ "command": ["cat"], "name": "work" })).await;
    let id = session["id"].as_str().expect("an id");
    let again = async |path: &str, tag: &str| {
        desk.api().send_with(Method::GET, path, &[("If-None-Match", tag)], "").await
    };
    let tag_of = |reply: &crate::support::Reply| {
        reply.headers.get("etag").expect("a tag").to_str().expect("text").to_owned()
    };
    // The directory may still tell of how it began.
    let known = async |path: &str| {
        soon("nothing new", async {
            loop {
                let tag = tag_of(&desk.api().get(path).await);
                let reply = again(path, &tag).await;
                if reply.status == 304 {
                    assert_eq!((tag_of(&reply), reply.bytes.len()), (tag.clone(), 0));
                    return tag;
                }
            }
        })
        .await
    };
    known("/api/v1/nodes").await;
    let list = "/api/v1/sessions?node=all";
    soon("the session in the list", async {
        while !desk.api().get(list).await.ok(200).to_string().contains(id) {
            sleep(LOOK).await;
        }
    })
    .await;
    let tag = known(list).await;
    let there = known("/api/v1/nodes/attic/sessions").await;
    let name = json!({ "name": "play" }).to_string();
    attic.api().send(Method::PATCH, &format!("/api/v1/sessions/{id}"), name).await.ok(200);
    let new = again("/api/v1/nodes/attic/sessions", &there).await.ok(200);
    assert_eq!(new["sessions"][0]["name"], "play", "asked of the machine itself");
    soon("the new name", async {
        loop {
            let reply = again(list, &tag).await;
            if reply.status == 200 && reply.json()["sessions"][0]["name"] == "play" {
                assert_ne!(tag_of(&reply), tag);
                return;
            }
            sleep(LOOK).await;
        }
    })
    .await;
    again(list, "play").await.problem(400, "invalid_request");
}

#[actix_web::test]
async fn the_events_of_one_session_come_from_its_machine() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let session = desk.api().create(bash("attic")).await;
    let id = session["id"].as_str().expect("an id");
    let path = format!("/api/v1/sessions/{id}");
    let made = desk.api().post(&format!("{path}/shares"), "{}").await.ok(201);
    let guest = desk.api().with_token(made["token"].as_str().expect("a secret"));
    let mut streams = Vec::new();
    for (api, events) in [
        (desk.api(), format!("/api/v1/events?session={id}")),
        (desk.api(), "/api/v1/events?node=attic".to_owned()),
        (guest, "/api/v1/events".to_owned()),
    ] {
        let request = awc::Client::builder().disable_timeout().finish();
        let request = request.get(format!("{}{events}", api.base()));
        let bearer = format!("Bearer {}", api.token());
        let sent = request.insert_header(("Authorization", bearer)).send();
        let mut body = soon("events", sent).await.expect("an answer");
        assert_eq!(body.status(), 200, "{events}");
        // The first piece says that the stream listens.
        soon("its place", body.next()).await.expect("a piece").expect("a piece");
        streams.push((events, body));
    }
    assert_eq!(attic.api().delete(&path).await.status, 200);
    for (events, mut body) in streams {
        let mut text = String::new();
        while !text.contains("session.ended") {
            let piece = soon(&events, body.next()).await.expect("a piece").expect("a piece");
            text += &String::from_utf8_lossy(&piece);
        }
        assert!(text.contains(id), "{text}");
    }
}

/// A message to a machine whose connection breaks in that moment is lost, and it may be the opening of a stream.
#[actix_web::test]
async fn a_stream_whose_opening_is_lost_is_opened_once() {
    let Some((nats, desk, _attic)) = two("").await else { return };
    let api = desk.api();
    let id = api.create(bash("attic")).await["id"].as_str().expect("an id").to_owned();
    let client = soon("a connection", async_nats::connect(nats.url())).await.expect("NATS");
    let overhears =
        async |subject: &str| client.subscribe(subject.to_owned()).await.expect("a subscription");
    let (mut asked, mut answered) =
        (overhears("stayd.node.attic.desk.>").await, overhears("stayd.edge.desk.attic.>").await);
    soon("the subscriptions", client.flush()).await.expect("sent");
    let (mut terminal, _) = Terminal::attach(&desk, &id, "client=tab").await;
    let of_kind = async |messages: &mut async_nats::Subscriber, kind: u8, subject: Option<&str>| {
        soon("a message", async {
            loop {
                let message = messages.next().await.expect("a message");
                let is_of = subject.is_none_or(|subject| message.subject.ends_with(subject));
                if is_of && message.payload.first() == Some(&kind) {
                    return message;
                }
            }
        })
        .await
    };
    // The node hears it twice: it says once more that it has taken the stream, which goes on.
    let open = of_kind(&mut asked, b'o', None).await;
    let word = open.subject.rsplit('.').next().expect("its word").to_owned();
    of_kind(&mut answered, b'a', Some(&word)).await;
    client.publish(open.subject.clone(), open.payload).await.expect("sent");
    of_kind(&mut answered, b'a', Some(&word)).await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    terminal.leave().await;
    // An edge that hears nothing asks again: a node that is in the directory and heeds nothing.
    let record = api.get("/api/v1/nodes").await.json();
    let attic = record["nodes"].as_array().expect("nodes").iter().find(|it| it["name"] == "attic");
    let mut silent = attic.expect("attic").clone();
    silent["name"] = "silent".into();
    silent["instance"] = "01890000-0000-7000-8000-000000000000".into();
    silent["run"] = 1.into();
    let put = client.publish("$KV.stayd-nodes.silent", silent.to_string().into());
    put.await.expect("sent");
    sees(&desk, "silent", "online").await;
    let mut asked = overhears("stayd.node.silent.desk.>").await;
    soon("the subscription", client.flush()).await.expect("sent");
    let request = api.get("/api/v1/nodes/silent/sessions");
    let twice = async {
        let first = of_kind(&mut asked, b'o', None).await;
        let again = of_kind(&mut asked, b'o', None).await;
        assert_eq!((first.subject, first.payload), (again.subject, again.payload));
    };
    let (reply, ()) = futures_util::future::join(request, twice).await;
    reply.problem(503, "node_unreachable");
}
